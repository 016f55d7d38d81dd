"""Images of another size, by OpenCV: its methods are those that published accuracies come from."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

METHODS = {
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "nearest": cv2.INTER_NEAREST,
}


def resized(
    image: npt.NDArray[np.uint8], size: tuple[int, int], method: str
) -> npt.NDArray[np.uint8]:
    """An image (H, W) or (H, W, C) of another size.

    Args:
        image: of bytes.
        size: width and height, in pixels.
        method: one of METHODS; any other is `nearest`.
    """
    if image.shape[1::-1] == size:
        return image
    how = METHODS.get(method, METHODS["nearest"])
    return np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)
