"""A segmenter's output as the class of each pixel, and where these pixels lie in the image.

It travels to devices too (`deploy/runner/edgewright_device`): numpy and the standard library alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

UNSEEN = 255  # a pixel of an image that its preprocessing cuts off
Map = npt.NDArray[np.int64]


class Place(Protocol):
    """What is read here of `framing.Frame`."""

    @property
    def left(self) -> int:
        """Of the resized image in the input, in pixels."""

    @property
    def top(self) -> int:
        """The same of its rows."""

    @property
    def width(self) -> int:
        """Of the input, in pixels."""

    @property
    def height(self) -> int:
        """The same of its rows."""

    @property
    def scale(self) -> tuple[float, float]:
        """Of the image's width and height, resized over original."""


class NoSegmenterError(ValueError):
    """The outputs are not those of a segmenter; the message says what they are."""


def class_map(given: Mapping[str, npt.NDArray[np.generic]], classes: int | None) -> tuple[Map, int]:
    """The class of each pixel (H, W), and how many classes there are.

    Args:
        given: a segmenter's only output: scores (H, W, classes) or (classes, H, W), or the classes
            themselves as whole numbers (H, W).
        classes: how many there are, where that is known; channels last are taken otherwise.

    Raises:
        NoSegmenterError: it is none of these.
    """
    arrays = list(given.values())
    if not arrays:
        raise NoSegmenterError("no output has more than one value")
    output = arrays[0]
    if len(arrays) == 1 and output.dtype.kind in "iu" and classes is not None:
        flat = output.reshape([n for n in output.shape if n != 1])
        if flat.ndim == 2:
            return flat.astype(np.int64), classes
    if len(arrays) == 1 and output.ndim == 3 and output.dtype.kind == "f":
        last = output.shape[2] == classes or classes is None or output.shape[0] != classes
        axis = 2 if last else 0
        return output.argmax(axis=axis).astype(np.int64), output.shape[axis]
    raise NoSegmenterError(
        ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in given.items())
    )


def of_image(found: Map, place: Place, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """The classes of an image's own pixels, (height, width); UNSEEN where the network saw none.

    Args:
        found: the class of each pixel of the network's output.
        place: where the image lies in the network's input.
        size: width and height of the image, in pixels.
    """
    columns = (np.arange(size[0]) + 0.5) * place.scale[0] + place.left
    rows = (np.arange(size[1]) + 0.5) * place.scale[1] + place.top
    seen = ((rows >= 0) & (rows < place.height))[:, np.newaxis] & (
        (columns >= 0) & (columns < place.width)
    )
    down = np.clip(rows * found.shape[0] / place.height, 0, found.shape[0] - 1).astype(np.int64)
    along = np.clip(columns * found.shape[1] / place.width, 0, found.shape[1] - 1).astype(np.int64)
    return np.where(seen, found[down][:, along], UNSEEN).astype(np.uint8)
