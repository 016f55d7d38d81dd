"""A user's labelled images: which files, and the class of each. Nothing here reads an image.

Either a list, a line an image (`NAME CLASS`, the class a number or a name of the model's), with the
names relative to the folder of images; or no list and one folder a class, as ImageNet has it. Which
class a label means is `toolchain.accuracy.classes`'.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolchain.accuracy.classes import Classes, match_folders, match_lines
from toolchain.core.errors import UsageError

ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff"}
HOW = "a list has a line an image, NAME CLASS; without --labels each class is a folder of images"


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image and its class, counted from 0."""

    path: Path
    label: int


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Images with their classes.

    Attributes:
        images: in an order that mixes their classes, the same every time.
        matching: how labels and the model's classes were matched, in words.
    """

    images: list[Image]
    matching: str


def read(folder: Path, labels: Path | None, classes: Classes, *, limit: int = 0) -> Labelled:
    """The labelled images of a folder.

    Args:
        folder: of images.
        labels: the list; None for a folder a class.
        classes: the model's.
        limit: take so many of them; all when 0.

    Raises:
        UsageError: there are no images, or labels and images or the model's classes don't match.
    """
    if not folder.is_dir():
        raise UsageError(f"no such folder: {folder}", resolution="give the folder of the images")
    if labels is None:
        images, matching = _of_folders(folder, classes)
    else:
        images, matching = _of_list(folder, labels, classes)
    if not images:
        raise UsageError(f"{folder} has no labelled images", resolution=HOW)
    wrong = [image for image in images if not 0 <= image.label < classes.count]
    if wrong:
        last = classes.count - 1
        raise UsageError(
            f"{len(wrong)} labels don't match the model, which has the classes 0 to {last}",
            detail=f"the first: {wrong[0].path.name} has class {wrong[0].label}",
            resolution="number the classes in the order of the model's output, from 0",
        )
    random.Random(0).shuffle(images)  # noqa: S311 (an order, no secret)
    return Labelled(images=images[:limit] if limit else images, matching=matching)


def _of_folders(folder: Path, classes: Classes) -> tuple[list[Image], str]:
    names = sorted(
        path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    if not names:
        return [], ""
    labels, matching = match_folders(names, classes)
    images = [
        Image(path=path, label=labels[name]) for name in names for path in images_of(folder / name)
    ]
    return images, matching


def _of_list(folder: Path, labels: Path, classes: Classes) -> tuple[list[Image], str]:
    try:
        text = labels.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{labels} can't be read", detail=str(error), resolution=HOW) from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    pairs, matching = match_lines(lines, classes, lambda name: (folder / name).is_file())
    images = [Image(path=folder / name, label=label) for name, label in pairs]
    missing = [image.path.name for image in images if not image.path.is_file()]
    if missing:
        raise UsageError(
            f"{len(missing)} of {len(images)} images of {labels.name} are not in {folder}",
            detail=shortened(missing),
            resolution="give the folder that the list's names are relative to",
        )
    return images, matching


def images_of(folder: Path) -> list[Path]:
    """The images in a folder, by their names; what is no file, such as a pipe, is none."""
    return [p for p in sorted(folder.iterdir()) if p.suffix.lower() in ENDINGS and p.is_file()]


def shortened(names: Sequence[str], most: int = 10) -> str:
    """A list of names, a line each, cut."""
    more = [f"and {len(names) - most} more"] if len(names) > most else []
    return "\n".join([*names[:most], *more])
