"""A user's labelled images: which files, and the class of each. Nothing here reads an image.

Either a list, a line an image (`name class`, the class a whole number), with the names relative to
the folder of images; or no list and one folder a class, as ImageNet has it: the classes are the
folders in the order of their names.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolchain.core.errors import UsageError

ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff"}
HOW = "a list has a line an image, NAME CLASS; without --labels each class is a folder of images"


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image and its class, counted from 0."""

    path: Path
    label: int


def read(folder: Path, labels: Path | None, *, classes: int, limit: int = 0) -> list[Image]:
    """The images of a folder, in an order that mixes their classes, the same every time.

    Args:
        folder: of images.
        labels: the list; None for a folder a class.
        classes: how many the model knows.
        limit: take so many of them; all when 0.

    Raises:
        UsageError: there are no images, or labels and images or the model's classes don't match.
    """
    if not folder.is_dir():
        raise UsageError(f"no such folder: {folder}", resolution="give the folder of the images")
    images = _of_folders(folder) if labels is None else _of_list(folder, labels)
    if not images:
        raise UsageError(f"{folder} has no labelled images", resolution=HOW)
    wrong = [image for image in images if not 0 <= image.label < classes]
    if wrong:
        raise UsageError(
            f"{len(wrong)} labels don't match the model, which has the classes 0 to {classes - 1}",
            detail=f"the first: {wrong[0].path.name} has class {wrong[0].label}",
            resolution="number the classes in the order of the model's output, from 0",
        )
    random.Random(0).shuffle(images)  # noqa: S311 (an order, no secret)
    return images[:limit] if limit else images


def _of_folders(folder: Path) -> list[Image]:
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    return [
        Image(path=path, label=label)
        for label, name in enumerate(names)
        for path in sorted((folder / name).iterdir())
        if path.suffix.lower() in ENDINGS
    ]


def _of_list(folder: Path, labels: Path) -> list[Image]:
    try:
        lines = labels.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{labels} can't be read", detail=str(error), resolution=HOW) from error
    images = []
    for number, line in enumerate(lines, start=1):
        name, _, label = line.strip().rpartition(" ")
        if not line.strip():
            continue
        if not name or not label.lstrip("-").isdigit():
            raise UsageError(f"{labels.name}, line {number}: {line.strip()!r}", resolution=HOW)
        images.append(Image(path=folder / name.strip(), label=int(label)))
    missing = [image.path.name for image in images if not image.path.is_file()]
    if missing:
        raise UsageError(
            f"{len(missing)} of {len(images)} images of {labels.name} are not in {folder}",
            detail=shortened(missing),
            resolution="give the folder that the list's names are relative to",
        )
    return images


def shortened(names: Sequence[str], most: int = 10) -> str:
    """A list of names, a line each, cut."""
    more = [f"and {len(names) - most} more"] if len(names) > most else []
    return "\n".join([*names[:most], *more])
