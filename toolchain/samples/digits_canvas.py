"""scikit-learn's digits strewn over a canvas: images whose boxes and pixels' classes are known.

Each canvas has one to four digits of several sizes that don't overlap, over a background that is
not quite dark. Those to train with and those to test with share no digit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from toolchain.samples import public_images

SIDES = (14, 20)  # of a digit, in pixels: from, to
MOST = 4  # digits
TRIES = 30  # to find a place for one
BRIGHTEST = 16  # of scikit-learn's digits
INK = 64  # of 255: what is at least as bright is the digit's
GREY = 24  # of 255: the background is below it
CLASSES = 10


@dataclass(frozen=True, kw_only=True)
class Canvases:
    """Images and what is on them.

    Attributes:
        images: (N, side, side, 1), 0 to 255.
        classes: (N, side, side): of each pixel, 0 the background, 1 to 10 the digits 0 to 9.
        boxes: of each image (digits, 5): left, top, right, bottom in pixels, the digit.
    """

    images: npt.NDArray[np.uint8]
    classes: npt.NDArray[np.uint8]
    boxes: list[npt.NDArray[np.float32]]


def drawn(count: int, side: int, seed: int, *, held_out: bool) -> Canvases:
    """So many canvases.

    Args:
        count: of them.
        side: in pixels.
        seed: another one, other canvases.
        held_out: whether of the digits that nothing is trained with.
    """
    train, train_labels, test, test_labels = public_images.digits()
    digits, labels = (test, test_labels) if held_out else (train, train_labels)
    random = np.random.default_rng(seed)
    made = [_canvas(digits, labels, side, random) for _ in range(count)]
    return Canvases(
        images=np.stack([image for image, _, _ in made])[..., np.newaxis],
        classes=np.stack([classes for _, classes, _ in made]),
        boxes=[boxes for _, _, boxes in made],
    )


def _canvas(
    digits: public_images.Array,
    labels: npt.NDArray[np.int64],
    side: int,
    random: np.random.Generator,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """One: its pixels, their classes, the boxes of its digits."""
    image = random.integers(0, GREY, (side, side), np.uint8)
    classes = np.zeros((side, side), np.uint8)
    taken = np.zeros((side, side), np.bool_)
    boxes = []
    for _ in range(int(random.integers(1, MOST, endpoint=True))):
        chosen, size = int(random.integers(len(digits))), int(random.integers(*SIDES))
        place = _place(taken, size, random)
        if place is None:
            continue
        left, top = place
        here = np.s_[top : top + size, left : left + size]
        taken[here] = True
        ink = _resized(digits[chosen, ..., 0], size)
        image[here] = np.maximum(image[here], ink)
        classes[here] = np.where(ink >= INK, labels[chosen] + 1, 0)
        rows, columns = np.nonzero(ink >= INK)
        boxes.append(
            [
                left + columns.min(),
                top + rows.min(),
                left + columns.max() + 1,
                top + rows.max() + 1,
                labels[chosen],
            ]
        )
    return image, classes, np.asarray(boxes, np.float32)


def _place(
    taken: npt.NDArray[np.bool_], size: int, random: np.random.Generator
) -> tuple[int, int] | None:
    """Left and top of a square that is still free; None where none was found."""
    for _ in range(TRIES):
        left, top = (int(n) for n in random.integers(0, len(taken) - size, 2, endpoint=True))
        if not taken[top : top + size, left : left + size].any():
            return left, top
    return None


def _resized(digit: public_images.Array, size: int) -> npt.NDArray[np.uint8]:
    """A digit of 0 to 16 as one of 0 to 255 and of another size."""
    pixels = np.asarray(np.rint(digit * (255 / BRIGHTEST)), np.uint8)
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR))
