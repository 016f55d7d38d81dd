"""Mean intersection over union of a segmenter, as PASCAL VOC counts it (Everingham et al., 2010).

For each class the pixels that both have, over those that either has, in all images together; then
the mean over the classes that occur in the labels or in the outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image

from toolchain.accuracy import class_map, dataset, framing, resizing
from toolchain.accuracy.class_map import Map
from toolchain.accuracy.metrics import Labelled, Metric, Network, refuse_unlabelled
from toolchain.core.errors import ModelError, UsageError

IGNORED = 255  # in a label: a pixel that doesn't count


class _MeanIou(Metric):
    name = "mean-iou"
    labels = "a folder of PNG files with the images' names; a pixel's value is its class, or 255"

    def read(self, folder: Path, labels: Path) -> list[Labelled]:
        if not folder.is_dir() or not labels.is_dir():
            raise UsageError(
                f"no such folder: {labels if folder.is_dir() else folder}",
                resolution=f"for {self.name}, --labels is {self.labels}",
            )
        images = dataset.images_of(folder)
        found = [(path, labels / f"{path.stem}.png") for path in images]
        refuse_unlabelled(sum(label.is_file() for _, label in found), folder, labels)
        missing = [path.name for path, label in found if not label.is_file()]
        if missing:
            raise UsageError(
                f"{len(missing)} of {len(images)} images have no label in {labels}",
                detail=dataset.shortened(missing),
                resolution=f"--labels is {self.labels}",
            )
        return [Labelled(path=path, label=str(label)) for path, label in found]

    def evaluate(
        self,
        outputs: Sequence[Mapping[str, npt.NDArray[np.generic]]],
        images: Sequence[Labelled],
        network: Network,
    ) -> dict[str, float]:
        counted: npt.NDArray[np.int64] | None = None
        for image, given in zip(images, outputs, strict=True):
            predicted, classes = _class_map(given, network.classes)
            wanted = _wanted(Path(image.label), network, (predicted.shape[0], predicted.shape[1]))
            counted = np.zeros((classes, classes), np.int64) if counted is None else counted
            counted += confusion(wanted, predicted, classes, image.path.name)
        assert counted is not None
        return of_confusion(counted)


def _class_map(
    given: Mapping[str, npt.NDArray[np.generic]], classes: int | None
) -> tuple[Map, int]:
    """The class of each pixel (H, W), and how many classes there are.

    Raises:
        ModelError: the outputs are no segmenter's.
    """
    try:
        return class_map.class_map(given, classes)
    except class_map.NoSegmenterError as error:
        raise ModelError(
            "the outputs are no segmenter's",
            detail=str(error),
            resolution="mean-iou takes one output: scores of each class for each pixel, or its "
            "class",
        ) from error


def _wanted(path: Path, network: Network, shape: tuple[int, int]) -> Map:
    """The classes of an image's pixels as they lie in the network's output (height, width)."""
    try:
        with PIL.Image.open(path) as opened:
            label = np.asarray(opened, np.uint8)
        if label.ndim != 2:
            raise ValueError(f"it has {label.ndim} axes: a pixel's value must be one number")
        size = (label.shape[1], label.shape[0])
        place = framing.frame(size, network.preprocessing, network.width, network.height)
    except (OSError, ValueError, SyntaxError) as error:
        raise UsageError(
            f"{path.name} can't be used as the classes of pixels",
            detail=str(error),
            resolution="save them as an 8-bit PNG of one channel, or of a palette",
        ) from error
    lying = place.placed(resizing.resized(label, place.size, "nearest"), IGNORED)
    rows = np.arange(shape[0]) * lying.shape[0] // shape[0]
    columns = np.arange(shape[1]) * lying.shape[1] // shape[1]
    given: Map = lying[rows][:, columns].astype(np.int64)
    return given


def confusion(wanted: Map, predicted: Map, classes: int, name: str) -> Map:
    """How many pixels of each class were called each, (classes, classes).

    Raises:
        UsageError: a label has a class that the network hasn't.
    """
    counts = wanted != IGNORED
    if counts.any() and wanted[counts].max() >= classes:
        raise UsageError(
            f"the label of {name} has class {wanted[counts].max()}; the network has {classes}",
            resolution="number the classes in the order of the network's output, from 0; "
            f"{IGNORED} is for pixels that don't count",
        )
    index = wanted[counts] * classes + np.clip(predicted[counts], 0, classes - 1)
    counted = np.bincount(index, minlength=classes**2)
    return counted.reshape(classes, classes)


def of_confusion(counted: Map) -> dict[str, float]:
    """Mean IoU and the share of right pixels."""
    both = np.diag(counted)
    either = counted.sum(axis=0) + counted.sum(axis=1) - both
    occurs = either > 0
    return {
        "mean IoU": float((both[occurs] / either[occurs]).mean()),
        "pixel accuracy": float(both.sum() / max(counted.sum(), 1)),
    }


METRIC = _MeanIou()
