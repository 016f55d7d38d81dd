"""What a network's outputs mean: classes with their scores, boxes, a mask, or just arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from deploy.run.inputs import Item
from toolchain.accuracy import box_decoding, class_map, framing
from toolchain.core.errors import ModelError, UsageError
from toolchain.formats.signature import Tensor
from toolchain.models.manifest import ModelManifest
from toolchain.models.metadata import Metadata

Array = npt.NDArray[Any]
CHANNELS = (1, 3)
IMAGE_RANK = 4  # batch, height, width and channels


@dataclass(frozen=True, kw_only=True)
class Score:
    """A class and its score."""

    label: str
    number: int
    score: float


@dataclass(frozen=True, kw_only=True)
class Box:
    """An object that was found, in pixels of the picture."""

    label: str
    number: int
    score: float
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What one inference said; the parts that its network has not are empty.

    Attributes:
        scores: the best classes, best first.
        boxes: the surest first.
        mask: the class of each pixel of the picture; `class_map.UNSEEN` where none is known.
    """

    scores: list[Score] = field(default_factory=list)
    boxes: list[Box] | None = None
    mask: npt.NDArray[np.uint8] | None = None


class Reader:
    """Makes sense of a network's outputs.

    Args:
        manifest: of the model.
        labels: the names of its classes; empty where there are none.
        top: how many classes are told.
        score: what a box must have at least.
    """

    def __init__(
        self, manifest: ModelManifest, labels: Sequence[str], *, top: int, score: float
    ) -> None:
        self._manifest, self._labels, self._top, self._score = manifest, labels, top, score
        self._metadata = manifest.metadata or Metadata()

    def meaning(self, outputs: Mapping[str, Array], item: Item) -> Meaning:
        """What the outputs of an inference mean.

        Args:
            outputs: by name.
            item: what the network was given.

        Raises:
            ModelError: they are not what the metadata says, or no picture's network has them.
        """
        real = {t.name: real_numbers(outputs[t.name], t) for t in self._manifest.outputs}
        task = self._metadata.task
        if self._manifest.batch != 1 or task is None:
            return Meaning()
        if task == "classification":
            return Meaning(scores=self._scores(real))
        if item.picture is None:
            return Meaning()
        if any(array.size == 0 for array in real.values()):
            raise self._odd("it has an output without values")
        alone = {name: array[0] for name, array in real.items() if array.ndim}
        if task == "detection" and self._metadata.detection is not None:
            return Meaning(boxes=self._boxes(alone, item.picture))
        if task == "segmentation":
            return Meaning(mask=self._mask(alone, item.picture))
        return Meaning()

    def label(self, number: int) -> str:
        """The name of a class, or `class N` where there are no names."""
        return self._labels[number] if number < len(self._labels) else f"class {number}"

    def _scores(self, real: Mapping[str, Array]) -> list[Score]:
        if len(real) != 1:
            return []
        (found,) = real.values()
        row = found.reshape(-1)
        best = np.argsort(-row.astype(np.float64), kind="stable")[: self._top]
        return [Score(label=self.label(int(n)), number=int(n), score=float(row[n])) for n in best]

    def _boxes(self, outputs: Mapping[str, Array], picture: Array) -> list[Box]:
        detection, classes = self._metadata.detection, len(self._labels) or self._metadata.classes
        assert detection is not None
        if not classes:
            raise ModelError(
                f"nothing says how many classes {self._manifest.model} tells apart",
                resolution="name them in the model's TOML (labels), convert and deploy again",
            )
        place = self._place(picture)
        try:
            size = place.width, place.height
            found = box_decoding.decoded(outputs, detection, classes, size)
        except box_decoding.OtherHeadError as error:
            raise ModelError(
                error.brief, detail=error.detail, resolution=error.resolution
            ) from error
        boxes = []
        corners = place.original(found.corners).tolist()
        for edges, score, number in zip(corners, found.scores, found.classes, strict=True):
            if score >= self._score:
                left, top, right, bottom = edges
                boxes.append(
                    Box(
                        label=self.label(int(number)), number=int(number), score=float(score),
                        left=left, top=top, right=right, bottom=bottom,
                    )
                )  # fmt: skip
        return boxes

    def _mask(self, outputs: Mapping[str, Array], picture: Array) -> npt.NDArray[np.uint8]:
        try:
            found, _ = class_map.class_map(outputs, self._metadata.classes)
        except class_map.NoSegmenterError as error:
            raise ModelError(
                f"the outputs of {self._manifest.model} are no segmenter's",
                detail=str(error),
                resolution="say what it is in the model's TOML (task)",
            ) from error
        return class_map.of_image(found, self._place(picture), (picture.shape[1], picture.shape[0]))

    def _place(self, picture: Array) -> framing.Frame:
        """Where a picture lies in the network's input.

        Raises:
            UsageError: it has another size, and nothing resizes it.
            ModelError: the network takes no pictures.
        """
        fed = self._manifest.state.inputs if self._manifest.state else {}
        given, *others = (t for t in self._manifest.inputs if t.name not in fed)
        how = self._metadata.preprocessing
        if others or len(given.shape) != IMAGE_RANK or 0 in given.shape or how is None:
            raise self._odd("its input is no picture, or nothing says how pictures are prepared")
        last = given.shape[-1] in CHANNELS
        height, width = given.shape[1:3] if last else given.shape[2:4]
        try:
            return framing.frame((picture.shape[1], picture.shape[0]), how, width, height)
        except ValueError as error:
            raise UsageError(
                f"the picture is {error} pixels", resolution=f"give one of {width} x {height}"
            ) from error

    def _odd(self, why: str) -> ModelError:
        """What a manifest on a device may say, which conversion here never does."""
        return ModelError(
            f"{self._manifest.model} on the device is not what its manifest says",
            detail=why,
            resolution="deploy again: invoke deploy --host NAME",
        )


def real_numbers(array: Array, tensor: Tensor) -> Array:
    """An output with the real numbers that whole ones stand for."""
    scale = tensor.quantization
    if scale is None:
        return array
    real: Array = (array.astype(np.float32) - scale.zero) * scale.scale
    return real
