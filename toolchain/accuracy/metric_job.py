"""The work of a metric, in the worker: all outputs, image by image, and the metric's numbers."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from toolchain.accuracy import metrics
from toolchain.accuracy.metric_request import MetricRequest, Values
from toolchain.core.errors import ModelError
from toolchain.core.worker import Progress
from toolchain.models import samples_file

# of numpy and zipfile, for what is no archive of arrays of as many dimensions as there must be
UNREADABLE = (
    *(zipfile.BadZipFile, OSError, ValueError, TypeError, IndexError, KeyError, EOFError),
    *(MemoryError, NotImplementedError, SyntaxError, zlib.error, struct.error, RecursionError),
)


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
    """What each image gave, by the output's name, without the batch of one.

    Raises:
        ModelError: a file, which a device has written, is none, or would become larger than it is.
    """
    for path in paths:
        try:
            named = _arrays(path)
            shortest = min(len(array) for array in named.values())
            found = [{n: array[i, 0] for n, array in named.items()} for i in range(shortest)]
        except UNREADABLE as error:
            raise ModelError(
                f"{path.name}: what the device gave can't be read", detail=str(error)
            ) from error
        yield from found


def _arrays(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    with zipfile.ZipFile(path) as archive:
        # the runner packs nothing: what grows as it is unpacked was made to fill the memory
        if sum(member.file_size for member in archive.infolist()) > path.stat().st_size:
            raise zipfile.BadZipFile("it is packed")
    with np.load(path, allow_pickle=False) as arrays:
        return {
            key.removeprefix(samples_file.OUTPUT): arrays[key]
            for key in arrays.files
            if key.startswith(samples_file.OUTPUT)
        }
