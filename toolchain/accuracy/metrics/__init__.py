"""What a network's outputs are worth: a module a metric, with `METRIC`.

A metric says what images and labels it takes, and makes numbers of all outputs. Top-1 and top-5 are
counted on the device (`toolchain.accuracy.counts`); for these metrics the outputs come home.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolchain.core.errors import UsageError
from toolchain.models.detection import Detection
from toolchain.models.preprocessing import Preprocessing

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


USERS = ".py"


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """An image and what is known of it, in words that the metric itself gave."""

    path: Path
    label: str


@dataclass(frozen=True, kw_only=True)
class Network:
    """What a metric may ask of the network.

    Attributes:
        preprocessing: how an image becomes its input.
        width, height: of its input, in pixels.
        classes: how many it tells apart, where that is said.
        names: of its classes, where they are known.
        detection: how its outputs become boxes, where that is said.
    """

    preprocessing: Preprocessing
    width: int
    height: int
    classes: int | None = None
    names: tuple[str, ...] = ()
    detection: Detection | None = None


class Metric(ABC):
    """One metric.

    Attributes:
        name: as `--metric` has it.
        labels: what `--labels` is, in words.
    """

    name: str
    labels: str

    @abstractmethod
    def read(self, folder: Path, labels: Path) -> list[Labelled]:
        """The images of a folder, with their labels.

        Args:
            folder: of the images.
            labels: what was given as `--labels`.

        Raises:
            UsageError: images and labels don't match.
        """

    @abstractmethod
    def evaluate(
        self,
        outputs: Sequence[Mapping[str, npt.NDArray[np.generic]]],
        images: Sequence[Labelled],
        network: Network,
    ) -> dict[str, float]:
        """What all outputs are worth, by the numbers' names; more is better.

        Args:
            outputs: of each image, by the output's name, without the batch.
            images: the same images, in the same order.
            network: that gave them.

        Raises:
            ModelError: the outputs are no such network's.
            UsageError: a label can't be used.
        """


@cache
def known() -> dict[str, Metric]:
    """Our metrics, by name."""
    modules = [
        importlib.import_module(f"{__name__}.{found.name}")
        for found in pkgutil.iter_modules(__path__)
    ]
    metrics: list[Metric] = [m.METRIC for m in modules if hasattr(m, "METRIC")]
    return {metric.name: metric for metric in sorted(metrics, key=lambda one: one.name)}


def metric_of(name: str) -> Metric:
    """A metric of ours by its name, or the user's own in a Python file.

    Raises:
        UsageError: there is none.
    """
    if name.endswith(USERS):
        from toolchain.accuracy.metrics import user_file

        return user_file.UserMetric(Path(name))
    if name not in known():
        raise UsageError(
            f"unknown metric: {name}",
            resolution=f"known metrics: {', '.join(known())}; or give a Python file of your own",
        )
    return known()[name]


def refuse_unlabelled(count: int, folder: Path, labels: Any) -> None:
    """Refuse a folder that has no images with labels.

    Raises:
        UsageError: there are none.
    """
    if not count:
        raise UsageError(
            f"no image of {folder} has a label in {labels}",
            resolution="docs/how-to/accuracy.md says what each metric takes",
        )
