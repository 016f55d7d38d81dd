"""The tensors of a PyTorch weights file (.pth) of before 1.6, without PyTorch and without its code.

Such a file is pickles, one after another, then the bytes of the tensors. A pickle may name any
function to be called; this reader knows the few that a table of tensors takes and refuses all
else, so that nothing of the file is ever run. What is read: a magic number, a version, facts of
the writer's machine, the table, the keys of the storages, and for each its length and values.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from toolchain.core.errors import ModelError

MAGIC = 0x1950A86A20F9469CFC6C
VERSION = 1001
STORAGES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class _Storage:
    """Values that tensors are views of; they stand behind the table."""

    key: str
    dtype: np.dtype[Any]
    count: int


@dataclass(frozen=True, kw_only=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _Unpickler(pickle.Unpickler):
    """Makes numbers, texts, tables and records of tensors; calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _record
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is no tensor")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _device, count, view = pid
        if kind != "storage" or view is not None or not isinstance(dtype, np.dtype):
            raise pickle.UnpicklingError("a storage of another kind")
        return _Storage(key=str(key), dtype=dtype, count=int(count))


def _record(
    storage: _Storage,
    offset: int,
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    _requires_grad: bool,
    _hooks: Any,
) -> _Tensor:
    return _Tensor(storage=storage, offset=int(offset), shape=tuple(shape), stride=tuple(stride))


def read(content: bytes) -> dict[str, Array]:
    """The tensors of a state dict, by name, in the file's order.

    Args:
        content: of the file.

    Raises:
        ModelError: it isn't such a file, or has anything else in it.
    """
    stream = io.BytesIO(content)
    try:
        if _Unpickler(stream).load() != MAGIC or _Unpickler(stream).load() != VERSION:
            raise pickle.UnpicklingError("another magic number or version")
        if _Unpickler(stream).load()["little_endian"] is not True:
            raise pickle.UnpicklingError("its values have their largest byte first")
        table = _Unpickler(stream).load()
        if not isinstance(table, dict):
            raise pickle.UnpicklingError("no table of tensors")
        tensors = {str(n): t for n, t in table.items() if isinstance(t, _Tensor)}
        keys = [str(key) for key in _Unpickler(stream).load()]
        known = {t.storage.key: t.storage for t in tensors.values()}
        values = {key: _values(stream, known[key]) for key in keys}
        return {name: _view(tensor, values[tensor.storage.key]) for name, tensor in tensors.items()}
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError) as error:
        raise ModelError(
            "the file can't be read as PyTorch's weights", detail=str(error)[:1000]
        ) from error


def _values(stream: io.BytesIO, storage: _Storage) -> Array:
    """The values of the next storage, (count,)."""
    count = int.from_bytes(stream.read(8), "little")
    if count != storage.count:
        raise ValueError(f"storage {storage.key} has another length than its tensors say")
    content = stream.read(min(count * storage.dtype.itemsize, stream.getbuffer().nbytes))
    if len(content) != count * storage.dtype.itemsize:
        raise ValueError(f"storage {storage.key} is cut short")
    return np.frombuffer(content, storage.dtype)


def _view(tensor: _Tensor, values: Array) -> Array:
    """A copy of a tensor's values, in its shape; all of them must be within its storage."""
    steps = list(zip(tensor.shape, tensor.stride, strict=True))
    last = tensor.offset + sum((length - 1) * step for length, step in steps)
    if min(tensor.offset, *tensor.shape, *tensor.stride, 0) < 0 or last >= len(values):
        raise ValueError("a tensor that isn't within its storage")
    strides = tuple(step * values.itemsize for step in tensor.stride)
    begun = values[tensor.offset :]
    return np.lib.stride_tricks.as_strided(begun, tensor.shape, strides, writeable=False).copy()
