"""The work of a metric, in the worker: all outputs, image by image, and the metric's numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from toolchain.accuracy import metrics
from toolchain.accuracy.metric_request import MetricRequest, Values
from toolchain.core.errors import ModelError
from toolchain.core.worker import Progress
from toolchain.models import samples_file


def evaluate(request: MetricRequest, progress: Progress) -> Values:
    """The numbers of a metric; the worker's entry.

    Raises:
        ModelError: the outputs are not what the metric takes.
        UsageError: a label can't be used, or the user's metric failed.
    """
    metric = metrics.metric_of(request.metric)
    progress("computing the metric")
    given = list(of_files(request.outputs))
    if len(given) != len(request.images):
        raise ModelError(f"{len(given)} outputs for {len(request.images)} images")
    return Values(values=metric.evaluate(given, request.images, request.network))


def of_files(paths: Sequence[Path]) -> Iterator[dict[str, npt.NDArray[np.generic]]]:
    """What each image gave, by the output's name, without the batch of one."""
    for path in paths:
        with np.load(path, allow_pickle=False) as arrays:
            named = {
                key.removeprefix(samples_file.OUTPUT): arrays[key]
                for key in arrays.files
                if key.startswith(samples_file.OUTPUT)
            }
        for number in range(min(len(array) for array in named.values())):
            yield {name: array[number, 0] for name, array in named.items()}
