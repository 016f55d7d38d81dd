"""Boxes of a detector's outputs: what a head's numbers mean, the best of those that overlap.

It travels to devices too (`deploy/runner/edgewright_device`): numpy and the standard library alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class Head(Protocol):
    """What is read here of a detector's description, `toolchain.models.detection`."""

    @property
    def head(self) -> str:
        """`yolo` or `ssd`."""

    @property
    def background(self) -> bool:
        """Whether the first score of an SSD head is that of nothing at all."""

    @property
    def objectness(self) -> bool:
        """Whether a YOLO head has a box's own score before those of its classes."""

    @property
    def score(self) -> float:
        """Boxes below it are left out."""

    @property
    def overlap(self) -> float:
        """Of two boxes of a class with a larger IoU the worse is left out."""

    @property
    def most(self) -> int:
        """Boxes of an image."""


class OtherHeadError(ValueError):
    """The outputs are not that head's.

    Args:
        brief: one line that says what happened.
        detail: what there is and what is expected.
        resolution: what to write into the model's TOML.
    """

    def __init__(self, brief: str, *, detail: str, resolution: str) -> None:
        super().__init__(f"{brief}: {detail}; {resolution}")
        self.brief = brief
        self.detail = detail
        self.resolution = resolution


@dataclass(frozen=True, kw_only=True)
class Boxes:
    """What was found in one image, the surest first.

    Attributes:
        corners: (N, 4): left, top, right, bottom, in pixels of the network's input.
        scores: (N,), of 1.
        classes: (N,), from 0.
    """

    corners: Array
    scores: Array
    classes: npt.NDArray[np.int64]


def decoded(
    outputs: Mapping[str, npt.NDArray[np.generic]],
    how: Head,
    classes: int,
    size: tuple[int, int],
) -> Boxes:
    """The boxes of one image.

    Args:
        outputs: of the network, without the batch.
        how: its head.
        classes: how many it tells apart, without the background.
        size: width and height of its input in pixels.

    Raises:
        OtherHeadError: they are not that head's.
    """
    if how.head == "ssd":
        corners, scores = _of_ssd(outputs, int(how.background), classes, size)
    else:
        corners, scores = _of_yolo(outputs, how, classes)
    # a box without finite edges is nowhere
    somewhere = np.isfinite(corners).all(axis=1, keepdims=True)
    place, of_class = np.nonzero((scores >= how.score) & somewhere & np.isfinite(scores))
    kept = scores[place, of_class]
    order = np.argsort(-kept, kind="stable")
    found = Boxes(corners=corners[place][order], scores=kept[order], classes=of_class[order])
    chosen = suppressed(found, how.overlap, how.most)
    return Boxes(
        corners=found.corners[chosen], scores=found.scores[chosen], classes=found.classes[chosen]
    )


def _of_yolo(
    outputs: Mapping[str, npt.NDArray[np.generic]], how: Head, classes: int
) -> tuple[Array, Array]:
    """Corners (boxes, 4) and scores (boxes, classes)."""
    rows = _rows(outputs, 4 + int(how.objectness) + classes)
    middles, sizes, scores = rows[:, :2], rows[:, 2:4], rows[:, 4:]
    if how.objectness:
        scores = scores[:, :1] * scores[:, 1:]
    return np.concatenate([middles - sizes / 2, middles + sizes / 2], axis=1), scores


def _of_ssd(
    outputs: Mapping[str, npt.NDArray[np.generic]],
    background: int,
    classes: int,
    size: tuple[int, int],
) -> tuple[Array, Array]:
    """Corners (boxes, 4) and scores (boxes, classes); the outputs are told apart by their widths.

    Where scores are as wide as boxes, the boxes come first.

    Raises:
        OtherHeadError: they are not an SSD head's.
    """
    rows = [array for array in outputs.values() if array.ndim == 2]
    boxes = next((array for array in rows if array.shape[1] == 4), None)
    others = (array for array in rows if array is not boxes)
    scores = next((array for array in others if array.shape[1] == background + classes), None)
    if boxes is None or scores is None or len(boxes) != len(scores) or len(outputs) != 2:
        raise OtherHeadError(
            "the outputs are not an SSD head's",
            detail=f"{_listed(outputs)}; (boxes, 4) and (boxes, {background + classes}) are "
            "expected",
            resolution="say in [detection] of the model's TOML whether the first score is that of "
            "the background, and in its list of labels how many classes",
        )
    corners = np.asarray(boxes, np.float64)[:, [1, 0, 3, 2]] * np.tile(size, 2)
    return corners, np.asarray(scores, np.float64)[:, background:]


def _listed(outputs: Mapping[str, npt.NDArray[np.generic]]) -> str:
    return ", ".join(f"{name} {array.shape}" for name, array in outputs.items())


def _rows(outputs: Mapping[str, npt.NDArray[np.generic]], length: int) -> Array:
    """A YOLO head's boxes, one a row (boxes, length)."""
    arrays = list(outputs.values())
    if len(arrays) == 1 and arrays[0].ndim == 2 and length in arrays[0].shape:
        rows = np.asarray(arrays[0], np.float64)
        return rows if rows.shape[1] == length else rows.T
    raise OtherHeadError(
        "the outputs are not a YOLO head's",
        detail=f"{_listed(outputs)}; one of ({length}, boxes) or (boxes, {length}) is expected",
        resolution="say in [detection] of the model's TOML whether it has objectness, and in its "
        "list of labels how many classes",
    )


def suppressed(boxes: Boxes, overlap: float, most: int) -> list[int]:
    """Which boxes stay when of two of a class that overlap by more the worse goes.

    It takes at most `most` looks at a class, however many boxes an output claims.

    Args:
        boxes: the surest first.
        overlap: IoU.
        most: how many stay at most.
    """
    kept: list[int] = []
    stays = np.ones(len(boxes.scores), np.bool_)
    members = {number: np.flatnonzero(boxes.classes == number) for number in set(boxes.classes)}
    areas = np.prod(np.maximum(boxes.corners[:, 2:] - boxes.corners[:, :2], 0), axis=1)
    for number in range(len(boxes.scores)):
        if len(kept) == most:
            break
        if not stays[number]:
            continue
        kept.append(number)
        rivals = members[boxes.classes[number]]
        others = boxes.corners[rivals]
        low = np.maximum(others[:, :2], boxes.corners[number, :2])
        high = np.minimum(others[:, 2:], boxes.corners[number, 2:])
        both = np.prod(np.maximum(high - low, 0), axis=1)
        either = areas[rivals] + areas[number] - both
        stays[rivals[both > overlap * either]] = False
    return kept
