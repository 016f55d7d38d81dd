"""From a picture to a network's input: fitted, resized and scaled as the release says.

Numpy does all of it; OpenCV does the resizing where it is installed, to the same values but for
rounding. A file is decoded by Pillow, or by OpenCV.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgewright_device import framing
from edgewright_device.errors import InputError, MeaningError

# the weights of the four nearest pixels that OpenCV takes (Keys, 1981)
CUBIC = -0.75
TAPS = {"nearest": 1, "bilinear": 2, "bicubic": 4}


def decoded(path: Path, *, grey: bool) -> np.ndarray:
    """The pixels of a file, (height, width) or (height, width, 3) RGB, upright as its camera was.

    Raises:
        InputError: it is no picture.
        MeaningError: neither Pillow nor OpenCV is installed.
    """
    if not path.is_file():
        raise InputError(f"no such file: {path}", "give the path of a picture")
    try:
        from PIL import Image, ImageOps
    except ImportError:
        return _by_opencv(path, grey=grey)
    try:
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened)
            return np.asarray(upright.convert("L" if grey else "RGB"), np.uint8)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} is no picture: {error}", "give a JPEG or PNG file") from error


def _by_opencv(path: Path, *, grey: bool) -> np.ndarray:
    try:
        import cv2
    except ImportError as error:
        raise MeaningError(
            f"nothing here can read {path}",
            "install python3-pil or python3-opencv, or give the pixels as an array",
        ) from error
    pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR)
    if pixels is None:
        raise InputError(f"{path} is no picture", "give a JPEG or PNG file")
    return np.asarray(pixels if grey else pixels[..., ::-1])


def fitting(shape: tuple[int, ...]) -> tuple[int, int, int, bool] | None:
    """Height, width and channels of a network's images, and whether these come first.

    Args:
        shape: of an input, batch first.

    Returns:
        None for what is no image.
    """
    if len(shape) == 4 and shape[3] in (1, 3):
        return shape[1], shape[2], shape[3], False
    if len(shape) == 4 and shape[1] in (1, 3):
        return shape[2], shape[3], shape[1], True
    return None


def prepared(picture: np.ndarray, how: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A picture as a network takes it, (1, *shape[1:]) float32.

    Args:
        picture: (height, width) or (height, width, channels) of bytes, RGB where there are three.
        how: the preprocessing.
        shape: of the input, batch first.

    Raises:
        InputError: it is no such picture, or has another size and nothing resizes it.
    """
    size = fitting(shape)
    if size is None:
        raise MeaningError(f"an input of shape {shape} is no picture", "give arrays by name")
    height, width, channels, first = size
    pixels = _channels(picture, channels)
    try:
        place = framing.frame((pixels.shape[1], pixels.shape[0]), how, width, height)
    except ValueError as error:
        raise InputError(
            f"the picture is {error} pixels, and this network takes {width} x {height}",
            "give one of that size: its preprocessing resizes nothing",
        ) from error
    fitted = place.placed(resized(pixels, place.size, how.resize), how.pad)
    fitted = fitted.reshape(height, width, channels)
    if how.channels == "BGR":
        fitted = fitted[..., ::-1]
    x = (fitted.astype(np.float64) * how.scale - np.asarray(how.mean)) / np.asarray(how.std)
    x = x.transpose(2, 0, 1) if first else x
    return np.ascontiguousarray(x[np.newaxis], dtype=np.float32)


def _channels(picture: np.ndarray, channels: int) -> np.ndarray:
    """The picture with as many channels as the network has."""
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or 0 in picture.shape:
        raise InputError(
            f"a picture is bytes of (height, width) or (height, width, 3), not {picture.dtype} "
            f"{picture.shape}",
            "convert it, or give the network's own input by name",
        )
    pixels = picture if picture.ndim == 3 else picture[..., np.newaxis]
    if pixels.shape[2] == 4:
        pixels = pixels[..., :3]
    if pixels.shape[2] == channels:
        return pixels
    if channels == 3 and pixels.shape[2] == 1:
        return np.repeat(pixels, 3, axis=2)
    if channels == 1 and pixels.shape[2] == 3:
        # as Pillow does it: ITU-R 601-2 luma
        grey = (pixels.astype(np.uint32) @ np.asarray([19595, 38470, 7471]) + 0x8000) >> 16
        made: np.ndarray = grey.astype(np.uint8)[..., np.newaxis]
        return made
    raise InputError(f"a picture of {pixels.shape[2]} channels can't be used", "give RGB or grey")


def resized(image: np.ndarray, size: tuple[int, int], method: str) -> np.ndarray:
    """An image (H, W, C) of bytes in another size, as OpenCV does it.

    Args:
        image: the image.
        size: width and height, in pixels.
        method: `bilinear`, `bicubic`, `area`, or `nearest`, which any other is taken for.
    """
    if image.shape[1::-1] == size:
        return image
    try:
        import cv2
    except ImportError:
        return _by_numpy(image, size, method)
    methods = {
        "bilinear": cv2.INTER_LINEAR,
        "bicubic": cv2.INTER_CUBIC,
        "area": cv2.INTER_AREA,
    }
    made = cv2.resize(image, size, interpolation=methods.get(method, cv2.INTER_NEAREST))
    return np.asarray(made, np.uint8).reshape(size[1], size[0], image.shape[2])


def _by_numpy(image: np.ndarray, size: tuple[int, int], method: str) -> np.ndarray:
    """`resized` without OpenCV: the rows first, then the columns."""
    width, height = size
    if method == "area" and height <= image.shape[0] and width <= image.shape[1]:
        rows = _averaged(image.astype(np.float32), height)
        made = _averaged(rows.transpose(1, 0, 2), width).transpose(1, 0, 2)
    else:
        # OpenCV's area is linear where an image grows
        method = method if method in TAPS else ("bilinear" if method == "area" else "nearest")
        rows = _interpolated(image, height, method)
        made = _interpolated(rows.transpose(1, 0, 2), width, method).transpose(1, 0, 2)
    whole: np.ndarray = np.clip(np.rint(made), 0, 255).astype(np.uint8)
    return whole


def _interpolated(image: np.ndarray, length: int, method: str) -> np.ndarray:
    """The first axis in another length, from its nearest pixels."""
    ratio = image.shape[0] / length
    last = image.shape[0] - 1
    if method == "nearest":
        at = np.minimum((np.arange(length) * ratio).astype(np.int64), last)
        nearest: np.ndarray = image[at].astype(np.float32)
        return nearest
    place = (np.arange(length) + 0.5) * ratio - 0.5
    before = np.floor(place).astype(np.int64)
    part = (place - before).astype(np.float32)[:, np.newaxis, np.newaxis]
    weights = [1 - part, part] if method == "bilinear" else _cubic(part)
    begin = before if method == "bilinear" else before - 1
    made = np.zeros((length, *image.shape[1:]), np.float32)
    for offset, weight in enumerate(weights):
        made += weight * image[np.clip(begin + offset, 0, last)]
    return made


def _cubic(part: np.ndarray) -> list[np.ndarray]:
    """The weights of the four nearest pixels, the last of which make the sum 1."""

    def near(x: np.ndarray) -> np.ndarray:
        weight: np.ndarray = ((CUBIC + 2) * x - (CUBIC + 3)) * x * x + 1
        return weight

    far = part + 1
    first = ((CUBIC * far - 5 * CUBIC) * far + 8 * CUBIC) * far - 4 * CUBIC
    second, third = near(part), near(1 - part)
    return [first, second, third, 1 - first - second - third]


def _averaged(image: np.ndarray, length: int) -> np.ndarray:
    """The first axis in a smaller length: means over all pixels, those at the edges by share."""
    ratio = image.shape[0] / length
    total = np.concatenate([np.zeros_like(image[:1], np.float64), np.cumsum(image, 0, np.float64)])
    edges = np.minimum(np.arange(length + 1) * ratio, image.shape[0])
    whole = np.minimum(edges.astype(np.int64), image.shape[0] - 1)
    part = (edges - whole)[:, np.newaxis, np.newaxis]
    until = total[whole] + part * image[whole]
    means: np.ndarray = (until[1:] - until[:-1]) / ratio
    return means
