"""A user's arrays for a network of any inputs: one array by the name of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from toolchain.core.errors import ModelError
from toolchain.formats.signature import Tensor
from toolchain.formats.state import State
from toolchain.samples import user_arrays
from toolchain.samples.sets import Array, Sets

ORIGIN = "the user's samples"
BEGUN = "zeros, then what the network gave"


def load(
    path: Path,
    inputs: Sequence[Tensor],
    batch: int,
    limits: Mapping[str, int],
    state: State | None = None,
) -> Sets:
    """Inferences of a network from an .npz file.

    An array has an inference's shape, or that of some of them behind each other, or (samples, ...)
    where the batch comes first. That of an only input may be named `x`.

    Args:
        path: the file.
        inputs: the network's.
        batch: samples of an inference.
        limits: what the values of some integer inputs must be below, by name.
        state: the network's. What its sequences begin with may be left out, which means zeros, or
            be one for all of them.

    Raises:
        ModelError: it can't be read, an array is missing or misnamed, or has another shape, type or
            range than its input.
    """
    found = user_arrays.arrays(path)
    labels = found.pop("labels", None)
    if len(inputs) == 1 and "x" in found:
        found = {inputs[0].name: found.pop("x"), **found}
    fed = {} if state is None else state.inputs
    _refuse_names(path, [t for t in inputs if t.name in found or t.name not in fed], found)
    given = [tensor for tensor in inputs if tensor.name in found]
    arrays = {t.name: _inferences(path, t, found[t.name], batch) for t in given}
    for tensor in given:
        _refuse_values(path, tensor, arrays[tensor.name], limits.get(tensor.name))
    if fed:
        arrays = _with_beginnings(inputs, arrays, fed)
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) != 1:
        raise ModelError(
            f"{path.name}: its arrays are of different numbers of inferences",
            detail="\n".join(f"{name}: {count}" for name, count in counts.items()),
            resolution=_how(inputs),
        )
    if labels is not None:
        samples = next(iter(counts.values())) * batch
        labels = _whole(labels, batch) if labels.ndim == 1 and len(labels) else labels
        if labels.shape != (samples,) or labels.dtype.kind not in "iu":
            raise ModelError(
                f"{path.name}: labels don't match the inputs",
                detail=f"labels {labels.dtype} {labels.shape}, inputs of {samples} samples",
                resolution=_how(inputs),
            )
    return Sets(
        arrays=arrays,
        labels=None if labels is None else labels.astype(np.int64),
        origins={name: ORIGIN if name in found else BEGUN for name in arrays},
        state=state,
    )


def _with_beginnings(
    inputs: Sequence[Tensor], arrays: Mapping[str, Array], fed: Mapping[str, str]
) -> dict[str, Array]:
    """Arrays of all inputs, in their order: a state's with as many inferences as the others'."""
    counts = [len(array) for name, array in arrays.items() if name not in fed]
    count = max(counts, default=1)
    filled = {}
    for tensor in inputs:
        array = arrays.get(tensor.name, np.zeros((1, *tensor.shape), tensor.dtype))
        one_for_all = tensor.name in fed and len(array) == 1
        filled[tensor.name] = np.repeat(array, count, axis=0) if one_for_all else array
    return filled


def _how(inputs: Sequence[Tensor]) -> str:
    said = ", ".join(f"{t.name}: {t.dtype} {t.shape}" for t in inputs)
    return f"save it with numpy.savez(FILE, **arrays), an array for each input: {said}"


def _refuse_names(path: Path, inputs: Sequence[Tensor], found: Mapping[str, Array]) -> None:
    names = {tensor.name for tensor in inputs}
    missing = sorted(names - found.keys())
    unknown = sorted(name for name in found.keys() - names if not name.startswith("out:"))
    if missing:
        raise ModelError(
            f"{path.name} has no array for input {', '.join(missing)}",
            detail=f"it has: {', '.join(sorted(found)) or 'nothing'}",
            resolution=_how(inputs),
        )
    if unknown:
        raise ModelError(
            f"{path.name}: {', '.join(unknown)} is no input of the model",
            resolution=_how(inputs),
        )


def _inferences(path: Path, tensor: Tensor, array: Array, batch: int) -> Array:
    """An array as (inferences, *shape)."""
    shape = tensor.shape
    if array.shape == shape:
        return array[np.newaxis]
    if array.shape[1:] == shape and len(array):
        return array
    batched = bool(shape) and shape[0] == batch
    if batched and array.shape[1:] == shape[1:] and len(array):
        return _whole(array, batch).reshape(-1, *shape)
    raise ModelError(
        f"{path.name}: {tensor.name} has another shape than the network's",
        detail=f"array   {array.shape}\nnetwork {shape}",
        resolution=_how([tensor]),
    )


def _whole(samples: Array, batch: int) -> Array:
    """As many as fill whole batches; from the first again where they don't fill one."""
    return samples[np.arange(max(len(samples) // batch, 1) * batch) % len(samples)]


def _refuse_values(path: Path, tensor: Tensor, array: Array, limit: int | None) -> None:
    if array.dtype != np.dtype(tensor.dtype):
        raise ModelError(
            f"{path.name}: {tensor.name} is {array.dtype}, {tensor.dtype} is expected",
            resolution="prepare them as the network takes them: " + _how([tensor]),
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ModelError(
            f"{path.name}: {tensor.name} is not all finite",
            resolution="prepare them as the network takes them: " + _how([tensor]),
        )
    if limit is not None and (int(array.max()) >= limit or int(array.min()) < -limit):
        raise ModelError(
            f"{path.name}: {tensor.name} has an index beyond its table",
            detail=f"values from {array.min()} to {array.max()}, the table has {limit} rows",
            resolution="give indices of the table that the network was trained with",
        )
