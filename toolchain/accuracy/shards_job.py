"""The work of preparing labelled images, in the worker: decode, crop, resize, run here."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageOps

from toolchain import formats
from toolchain.accuracy import dataset
from toolchain.accuracy.shards_request import (
    SUMMARY,
    ReferencesRequest,
    ShardsRequest,
    Summary,
)
from toolchain.core.errors import ModelError
from toolchain.core.worker import Progress
from toolchain.models.preprocessing import Preprocessing
from toolchain.samples import public_images

METHODS = {
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "nearest": cv2.INTER_NEAREST,
}


def prepare(request: ShardsRequest, progress: Progress) -> None:
    """Fill `folder` with shards of the images; the worker's entry.

    Raises:
        ModelError: images can't be read, or all of them were left out.
    """
    cv2.setNumThreads(1)
    how, folder, size = request.preprocessing, request.folder, request.size
    height, width, channels = request.shape
    pixels: list[npt.NDArray[np.uint8]] = []
    labels: list[int] = []
    unreadable: list[str] = []
    written = 0

    def write() -> None:
        nonlocal written
        np.savez(
            folder / f"shard-{written // size:04}.npz",
            allow_pickle=False,
            pixels=np.stack(pixels),
            labels=np.asarray(labels, np.int64),
            scale=np.float64(how.scale),
            mean=np.asarray(how.mean, np.float64),
            std=np.asarray(how.std, np.float64),
            reverse=np.bool_(how.channels == "BGR"),
            channels_first=np.bool_(request.channels_first),
        )
        written += len(pixels)
        pixels.clear()
        labels.clear()

    for number, (path, label) in enumerate(request.images, start=1):
        try:
            pixels.append(read(path, how, height, width, channels))
            labels.append(label)
        except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError):
            unreadable.append(path.name)
        if len(pixels) == size:
            write()
            progress(f"{number} of {len(request.images)} images")
    if pixels:
        write()
    if (unreadable and not request.skip) or not written:
        raise ModelError(
            f"{len(unreadable)} of {len(request.images)} images can't be used",
            detail=dataset.shortened(unreadable),
            resolution="mend or remove them, or leave them out with --skip-unreadable"
            if written
            else "give images that Pillow reads; where the model doesn't resize, of its size",
        )
    summary = Summary(total=written, unreadable=unreadable)
    (folder / SUMMARY).write_text(summary.model_dump_json())


def read(
    path: Path, how: Preprocessing, height: int, width: int, channels: int
) -> npt.NDArray[np.uint8]:
    """One image (height, width, channels): resized, its middle, upright as its camera held it.

    Pillow decodes, because OpenCV hands out half of a damaged file without a word.

    Raises:
        OSError, SyntaxError: it can't be decoded.
        ValueError: it has another size than the network takes, and nothing resizes it.
    """
    with PIL.Image.open(path) as opened:
        upright = PIL.ImageOps.exif_transpose(opened)
        image = np.asarray(upright.convert("L" if channels == 1 else "RGB"), np.uint8)
    if how.resize != "none":
        image = _middle(image, how, height, width)
    if image.shape[:2] != (height, width):
        raise ValueError(f"{image.shape[1]} x {image.shape[0]}")
    return image.reshape(height, width, channels)


def _middle(
    image: npt.NDArray[np.uint8], how: Preprocessing, height: int, width: int
) -> npt.NDArray[np.uint8]:
    """The image resized in its own proportion, and the middle of that."""
    tall, wide = image.shape[:2]
    scale = max(height / tall, width / wide) / how.crop
    size = (max(round(wide * scale), width), max(round(tall * scale), height))
    resized = cv2.resize(image, size, interpolation=METHODS[how.resize])
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return np.ascontiguousarray(resized[top : top + height, left : left + width], np.uint8)


def inputs(path: Path) -> public_images.Array:
    """A shard's images as the network takes them; the device's runner computes the same."""
    with np.load(path, allow_pickle=False) as shard:
        pixels = shard["pixels"][..., ::-1] if shard["reverse"] else shard["pixels"]
        x = (pixels.astype(np.float64) * shard["scale"] - shard["mean"]) / shard["std"]
        x = x.transpose(0, 3, 1, 2) if shard["channels_first"] else x
    return np.ascontiguousarray(x, dtype=np.float32)


def references(request: ReferencesRequest, progress: Progress) -> None:
    """Run each shard through a TFLite or ONNX file; the worker's entry."""
    path, batch = request.model, request.batch
    network = formats.format_of(path).load(path, progress)
    (given,), (made,) = network.signature.inputs, network.signature.outputs
    for number, shard in enumerate(request.shards):
        x = inputs(shard)
        x = x[: len(x) // batch * batch]
        progress(f"shard {number + 1} of {len(request.shards)}")
        scores = [
            network.run({given.name: x[start : start + batch]})[made.name]
            for start in range(0, len(x), batch)
        ]
        file = request.folder / f"reference-{number:04}.npy"
        np.save(file, np.concatenate(scores).reshape(len(x), -1), allow_pickle=False)
