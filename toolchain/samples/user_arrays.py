"""A user's arrays: inputs as the network takes them, and their classes where these are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toolchain.core.errors import ModelError
from toolchain.models.samples_file import UNREADABLE
from toolchain.samples.public_images import Inputs

HOW = "save it with numpy.savez(FILE, x=inputs, labels=classes)"


def arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """All arrays of an .npz file by name.

    Raises:
        ModelError: it can't be read, or holds Python objects.
    """
    try:
        with np.load(path, allow_pickle=False) as loaded:
            return {name: loaded[name] for name in loaded.files}
    except UNREADABLE as error:
        raise ModelError(
            f"{path.name} can't be read as .npz", detail=str(error), resolution=HOW
        ) from error


def load(path: Path, shape: tuple[int, ...], *, labelled: bool = False) -> Inputs:
    """Inputs of a network from an .npz file with x (N, ...), and labels (N,) where there are any.

    Args:
        path: the file.
        shape: the network's input, batch first.
        labelled: whether labels must be there.

    Raises:
        ModelError: it can't be read, or its arrays have another shape or type than the network's.
    """
    found = {name: array for name, array in arrays(path).items() if name in ("x", "labels")}
    if "x" not in found or (labelled and "labels" not in found):
        raise ModelError(
            f"{path.name} lacks {'labels' if 'x' in found else 'x'}",
            detail=f"it has: {', '.join(sorted(found)) or 'neither x nor labels'}",
            resolution=HOW,
        )
    x, labels = found["x"], found.get("labels")
    if x.shape[1:] != shape[1:] or not len(x):
        raise ModelError(
            f"{path.name}: the inputs have another shape than the network's",
            detail=f"x       {x.shape}\nnetwork (N, {', '.join(str(d) for d in shape[1:])})",
            resolution=HOW,
        )
    if x.dtype != np.float32 or not np.isfinite(x).all():
        what = f"{x.dtype}" if x.dtype != np.float32 else "not all finite"
        raise ModelError(
            f"{path.name}: the inputs are {what}, finite float32 is expected",
            resolution="prepare them as the network takes them: " + HOW,
        )
    if labels is not None and (labels.shape != x.shape[:1] or labels.dtype.kind not in "iu"):
        raise ModelError(
            f"{path.name}: labels don't match the inputs",
            detail=f"labels {labels.dtype} {labels.shape}, x {x.shape}: one whole number each",
            resolution=HOW,
        )
    return Inputs(x=x, labels=None if labels is None else labels.astype(np.int64))


def repeated(inputs: Inputs, count: int) -> Inputs:
    """So many of them, from the first again where there are fewer."""
    index = np.arange(count) % len(inputs.x)
    labels = inputs.labels
    return Inputs(x=inputs.x[index], labels=None if labels is None else labels[index])
