"""How an image lies in a network's input: what of it is kept, how much smaller, and where.

The same numbers place an image, the classes of its pixels, and boxes that were found in the input.
It travels to devices too (`deploy/runner/edgewright_device`): numpy and the standard library alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt


class Fit(Protocol):
    """What is read here of a network's preprocessing, `toolchain.models.preprocessing`."""

    @property
    def resize(self) -> str:
        """By what method, or `none`."""

    @property
    def fit(self) -> str:
        """`crop`, `letterbox` or `stretch`."""

    @property
    def crop(self) -> float:
        """The share of the shorter side that is kept."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Where an image lies in the input; all in pixels.

    Attributes:
        size: width and height of the resized image.
        left, top: of the resized image in the input; below 0 where it is cut.
        width, height: of the input.
        scale: of the image's width and of its height, resized over original.
    """

    size: tuple[int, int]
    left: int
    top: int
    width: int
    height: int
    scale: tuple[float, float]

    def placed(self, resized: npt.NDArray[np.uint8], pad: int) -> npt.NDArray[np.uint8]:
        """An image of `size`, (H, W) or (H, W, C), as it lies in the input.

        Args:
            resized: the image.
            pad: what is beside it.
        """
        placed = np.full((self.height, self.width, *resized.shape[2:]), pad, np.uint8)
        left, top = max(self.left, 0), max(self.top, 0)
        cut = resized[top - self.top :, left - self.left :]
        cut = cut[: self.height - top, : self.width - left]
        placed[top : top + cut.shape[0], left : left + cut.shape[1]] = cut
        return placed

    def original(self, boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Boxes (N, 4) of the input, left, top, right, bottom, in pixels of the image itself."""
        offset = np.asarray([self.left, self.top] * 2)
        given: npt.NDArray[np.float64] = (boxes - offset) / np.asarray(self.scale * 2)
        return given


def frame(image: tuple[int, int], how: Fit, width: int, height: int) -> Frame:
    """The frame of an image.

    Args:
        image: its width and height, in pixels.
        how: the network's preprocessing.
        width: of the network's input, in pixels.
        height: the same.

    Raises:
        ValueError: it has another size than the network takes, and nothing resizes it.
    """
    wide, tall = image
    if how.resize == "none" and image != (width, height):
        raise ValueError(f"{wide} x {tall}")
    if how.resize == "none" or how.fit == "stretch":
        size = (width, height)
    elif how.fit == "letterbox":
        scale = min(height / tall, width / wide)
        size = (max(round(wide * scale), 1), max(round(tall * scale), 1))
    else:
        scale = max(height / tall, width / wide) / how.crop
        size = (max(round(wide * scale), width), max(round(tall * scale), height))
    return Frame(
        size=size,
        left=(width - size[0]) // 2 if size[0] < width else -((size[0] - width) // 2),
        top=(height - size[1]) // 2 if size[1] < height else -((size[1] - height) // 2),
        width=width,
        height=height,
        scale=(size[0] / wide, size[1] / tall),
    )
