"""Which output of a model a label means: by name where names are known, refused where none fits.

A number that is guessed from an order is how a right network is called wrong, so each way of
matching has words, which the table of an accuracy run shows. Nothing here reads an image.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolchain.core.errors import UsageError
from toolchain.models.specification import ModelSpec

BY_NAME = "by name"
BY_NUMBER = "by number"
BY_WORDNET = "by WordNet id"
BY_ORDER = "folders in the order of their names, because the model has no list of labels"
NAME_THEM = (
    'name the classes in the model\'s TOML file (labels = "classes.txt"), '
    "or give --labels with class numbers in the order of the model's output, from 0"
)

NUMBER = re.compile(r"\d{1,9}", re.ASCII)
# ImageNet's 1,000 classes are numbered in the order of these ids
WORDNET = re.compile(r"n\d{8}", re.ASCII)
MOST_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Classes:
    """What the outputs of a model mean.

    Attributes:
        count: how many there are.
        names: one each, in the order of the outputs; none where they are not known.
        imagenet: whether they are ImageNet's, whose folders have WordNet ids for names.
    """

    count: int
    names: tuple[str, ...] = ()
    imagenet: bool = False

    def numbers(self, name: str) -> list[int]:
        """The classes of that name: written just so, or else in other capitals and separators."""
        exact = [number for number, known in enumerate(self.names) if known == name]
        return exact or [n for n, known in enumerate(self.names) if _plain(known) == _plain(name)]


def of_model(spec: ModelSpec, count: int) -> Classes:
    """The classes of a model with so many outputs.

    Raises:
        UsageError: its list of labels can't be read, or has another length.
    """
    if spec.own is not None and spec.own.labels is not None:
        return Classes(count=count, names=_names(spec.own.labels, count))
    known = spec.entry.labels if spec.entry is not None else ""
    digits = tuple(str(n) for n in range(count)) if known == "digits" else ()
    return Classes(count=count, names=digits, imagenet=known == "imagenet-1k")


def match_folders(folders: Sequence[str], classes: Classes) -> tuple[dict[str, int], str]:
    """The class of each folder of images, and how they were matched.

    Args:
        folders: their names.
        classes: the model's.

    Raises:
        UsageError: names and classes don't match, or nothing says which class a folder is.
    """
    numbered = bool(folders) and all(NUMBER.fullmatch(folder) for folder in folders)
    if classes.names:
        found = {folder: classes.numbers(folder) for folder in folders}
        if not (numbered and not any(found.values())):
            _refuse("folders", found, classes)
            return {folder: numbers[0] for folder, numbers in found.items()}, BY_NAME
    if numbered:
        return {folder: int(folder) for folder in folders}, BY_NUMBER
    wordnet = all(WORDNET.fullmatch(folder) for folder in folders)
    if len(folders) == classes.count and (wordnet or not classes.imagenet):
        how = BY_WORDNET if wordnet and classes.imagenet else BY_ORDER
        return {folder: number for number, folder in enumerate(sorted(folders))}, how
    what = "its classes have WordNet ids" if classes.imagenet else "it has no list of labels"
    raise UsageError(
        f"nothing says which of the model's {classes.count} classes a folder is",
        detail=f"there are {len(folders)} folders, and {what}",
        resolution=NAME_THEM,
    )


def match_lines(
    lines: Sequence[str], classes: Classes, exists: Callable[[str], bool]
) -> tuple[list[tuple[str, int]], str]:
    """The image and class of each line of a list, and how they were matched.

    Args:
        lines: an image and its class each, the class a name of the model's or a number.
        classes: the model's.
        exists: whether there is an image of that name.

    Raises:
        UsageError: a line has neither a class's name nor a number.
    """
    named = [_named(line, classes, exists) for line in lines]
    if lines and all(named):
        found = {label: classes.numbers(label) for _, label in filter(None, named)}
        _refuse("labels", found, classes)
        return [(image, found[label][0]) for image, label in filter(None, named)], BY_NAME
    pairs = []
    for number, line in enumerate(lines, start=1):
        image, label = _split(line)
        if not image or not NUMBER.fullmatch(label.removeprefix("-")):
            known = ", ".join(classes.names[:MOST_SHOWN])
            raise UsageError(
                f"the list of labels: {line!r} does not end in a class",
                detail=f"line {number}; "
                + (f"the model's classes: {known}" if known else "the model has no list of labels"),
                resolution=NAME_THEM,
            )
        pairs.append((image, int(label)))
    return pairs, BY_NUMBER


def _names(path: Path, count: int) -> tuple[str, ...]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path.name} can't be read", detail=str(error), resolution="give a name a line"
        ) from error
    names = tuple(line.strip() for line in text.strip().splitlines())
    if len(names) != count:
        raise UsageError(
            f"{path.name}: its labels don't match the model",
            detail=f"{len(names)} labels, the model gives {count} scores",
            resolution="give one name a line, in the order of the model's output",
        )
    return names


def _refuse(what: str, found: dict[str, list[int]], classes: Classes) -> None:
    """Refuse names that are no class's, or the names of several."""
    wrong = [name for name, numbers in found.items() if len(numbers) != 1]
    if not wrong:
        return
    unused = [name for n, name in enumerate(classes.names) if [n] not in found.values()]
    raise UsageError(
        f"{len(wrong)} of {len(found)} {what} are not the name of one of the model's classes",
        detail=f"{what}: {_some(wrong)}\nclasses without any: {_some(unused)}",
        resolution="give each the name that the model's list of labels has, "
        "or give --labels with class numbers in the order of the model's output, from 0",
    )


def _named(line: str, classes: Classes, exists: Callable[[str], bool]) -> tuple[str, str] | None:
    """A line as an image and a class's name; both may have spaces in them."""
    words = re.split(r"(\s+)", line.strip())
    cuts = range(1, len(words), 2)
    pairs = [("".join(words[:cut]), "".join(words[cut + 1 :])) for cut in cuts]
    known = [(image, label) for image, label in pairs if classes.numbers(label)]
    return next((pair for pair in known if exists(pair[0])), known[0] if known else None)


def _split(line: str) -> tuple[str, str]:
    parts = line.strip().rsplit(maxsplit=1)
    return (parts[0], parts[1]) if len(parts) == 2 else ("", "")


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFC", name)).strip().casefold()


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    return (", ".join(names[:MOST_SHOWN]) or "none") + more
