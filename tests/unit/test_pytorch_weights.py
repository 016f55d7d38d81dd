"""Weights files of PyTorch: their tensors are read, and nothing else in them is run."""

from __future__ import annotations

import io
import os
import pickle
import struct
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import pytest

from toolchain.convert.training import pytorch_weights
from toolchain.core.errors import ModelError

VALUES = np.arange(6, dtype="<f4")


class FloatStorage:
    """In the place of PyTorch's, whose name is in its files."""

    def __init__(self, count: int) -> None:
        self.count = count


def _rebuild_tensor_v2() -> None:
    """As above."""


FloatStorage.__module__, _rebuild_tensor_v2.__module__ = "torch", "torch._utils"
TORCH, UTILS = ModuleType("torch"), ModuleType("torch._utils")
vars(TORCH)["FloatStorage"] = FloatStorage
vars(UTILS)["_rebuild_tensor_v2"] = _rebuild_tensor_v2


class Call:
    """Is written as the call of a function, and is no more than that."""

    def __init__(self, function: Callable[..., Any], *given: Any) -> None:
        self.function, self.given = function, given

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.given


class Pickler(pickle.Pickler):
    """Writes storages as PyTorch does."""

    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, FloatStorage):
            return ("storage", FloatStorage, "0", "cpu", obj.count, None)
        return None


def a_file(table: Any, *, values: bytes = VALUES.tobytes(), count: int = len(VALUES)) -> bytes:
    """A weights file of one storage."""
    stream = io.BytesIO()
    head = (pytorch_weights.MAGIC, pytorch_weights.VERSION, {"little_endian": True})
    with mock.patch.dict(sys.modules, {"torch": TORCH, "torch._utils": UTILS}):
        for part in (*head, table, ["0"]):
            Pickler(stream, 2).dump(part)
    return stream.getvalue() + struct.pack("<q", count) + values


def a_tensor(
    shape: tuple[int, ...], stride: tuple[int, ...], offset: int = 0, count: int = len(VALUES)
) -> Call:
    hooks: OrderedDict[str, Any] = OrderedDict()
    given = (FloatStorage(count), offset, shape, stride, False, hooks)
    return Call(_rebuild_tensor_v2, *given)


def test_tensors_come_in_their_shape() -> None:
    table = {"rows": a_tensor((2, 3), (3, 1)), "turned": a_tensor((3, 2), (1, 3))}
    found = pytorch_weights.read(a_file({**table, "last": a_tensor((), (), 5)}))
    np.testing.assert_array_equal(found["rows"], VALUES.reshape(2, 3))
    np.testing.assert_array_equal(found["turned"], VALUES.reshape(2, 3).T)
    assert found["last"] == 5


def test_a_function_that_a_file_names_is_not_called(tmp_path: Path) -> None:
    made = tmp_path / "made"
    table = {"x": Call(os.mkdir, str(made))}
    with pytest.raises(ModelError) as caught:
        pytorch_weights.read(a_file(table))
    assert "mkdir" in caught.value.detail
    assert not made.exists()


@pytest.mark.parametrize(
    "tensor",
    [
        a_tensor((2, 4), (4, 1)),
        a_tensor((2, 3), (3, 1), offset=1),
        a_tensor((2, 3), (3, 1), offset=-1),
        a_tensor((2, 3), (-3, 1)),
        a_tensor((1 << 40, 3), (3, 1)),
    ],
)
def test_a_tensor_that_reaches_out_of_its_storage_is_refused(tensor: Call) -> None:
    with pytest.raises(ModelError) as caught:
        pytorch_weights.read(a_file({"x": tensor}))
    assert "within its storage" in caught.value.detail


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        a_file({"x": a_tensor((2, 3), (3, 1))})[:-1],
        a_file({"x": a_tensor((2, 3), (3, 1))}, count=1 << 62),
        a_file({"x": a_tensor((2, 3), (3, 1), count=1 << 62)}, count=1 << 62),
        a_file(3),
    ],
    ids=["empty", "a zip", "cut short", "another length", "a huge length", "no table"],
)
def test_what_is_no_weights_file_is_refused(content: bytes) -> None:
    with pytest.raises(ModelError, match="can't be read as PyTorch's weights"):
        pytorch_weights.read(content)
