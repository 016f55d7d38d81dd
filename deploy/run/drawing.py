"""Pictures of what was found: boxes drawn into the picture, or a mask over it."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageDraw

from deploy.run.meaning import Box
from toolchain.accuracy.class_map import UNSEEN
from toolchain.core.errors import UsageError

GOLDEN = 0.618034  # of the circle of hues: colours that follow each other differ most
OVER = 0.55  # of a mask's colour over the picture
LONGEST = 40  # characters of a label
SMALL = 320  # pixels of a picture's longer side, up to which it is drawn larger
Pixels = npt.NDArray[np.uint8]


def boxes(picture: Pixels, found: Sequence[Box]) -> PIL.Image.Image:
    """A picture with the boxes in it and their labels."""
    image, times = _canvas(picture)
    draw = PIL.ImageDraw.Draw(image)
    line = max(2, round(max(image.size) / 320))
    size = max(11, round(max(image.size) / 45))
    for box in reversed(found):
        colour = _colour(box.number)
        # beyond the picture it would take as long as it is large, and show nothing
        left, right = (_within(x * times, image.width + line, line) for x in (box.left, box.right))
        top, bottom = (_within(y * times, image.height + line, line) for y in (box.top, box.bottom))
        edges = (left, top, max(right, left), max(bottom, top))
        draw.rectangle(edges, outline=colour, width=line)
        text = f"{box.label[:LONGEST]} {box.score:.2f}"
        place = max(left, 0), max(top - size - 4, 0)
        draw.rectangle(draw.textbbox(place, text, font_size=size), fill=colour)
        draw.text(place, text, fill="white", font_size=size)
    return image


def mask(picture: Pixels, classes: Pixels) -> PIL.Image.Image:
    """A picture with the classes of its pixels over it; class 0, the background, is left clear."""
    image, times = _canvas(picture)
    enlarged = np.repeat(np.repeat(classes, times, axis=0), times, axis=1)
    over = np.asarray(image, np.float64)
    for number in np.unique(classes):
        if number not in (0, UNSEEN):
            here = enlarged == number
            over[here] = over[here] * (1 - OVER) + OVER * np.asarray(_colour(int(number)))
    return PIL.Image.fromarray(np.rint(over).astype(np.uint8))


def save(image: PIL.Image.Image, path: Path) -> None:
    """Write a picture.

    Raises:
        UsageError: it can't be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path} can't be written", detail=str(error), resolution="--out found.png"
        ) from error


def _within(edge: float, most: float, line: int) -> float:
    return min(max(edge, -line), most)


def _canvas(picture: Pixels) -> tuple[PIL.Image.Image, int]:
    """A picture to draw into, and how many times as large: labels don't fit into a tiny one."""
    image = PIL.Image.fromarray(picture).convert("RGB")
    times = max(1, -(-SMALL // max(image.size)))
    if times > 1:
        size = image.width * times, image.height * times
        image = image.resize(size, PIL.Image.Resampling.NEAREST)
    return image, times


def _colour(number: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb((number * GOLDEN) % 1, 0.85, 0.8)
    return round(red * 255), round(green * 255), round(blue * 255)
