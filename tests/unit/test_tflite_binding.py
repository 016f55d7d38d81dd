"""Which tensor of a TFLite file is which of the network's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from toolchain.convert import tflite_binding
from toolchain.convert.parity import Outputs
from toolchain.core.errors import ModelError
from toolchain.formats.graphs import tflite_graph
from toolchain.formats.signature import Dtype, Tensor
from toolchain.formats.state import Feed, State
from toolchain.samples.sets import Sets


def tensor(name: str, *shape: int, dtype: Dtype = "float32") -> Tensor:
    return Tensor(name=name, shape=shape, dtype=dtype)


def detail(name: str, *shape: int, dtype: type = np.float32) -> dict[str, Any]:
    return {"name": name, "shape": np.array(shape), "dtype": dtype, "index": name}


class Subtraction:
    """A file that gives its first input less its second, and the sum, both of one shape."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.given: dict[str, np.ndarray] = {}

    def get_input_details(self) -> list[dict[str, Any]]:
        return [detail(name, 1, 2) for name in self.names]

    def get_output_details(self) -> list[dict[str, Any]]:
        return [detail("sum", 1, 2), detail("less", 1, 2)]

    def set_tensor(self, name: str, array: np.ndarray) -> None:
        self.given[name] = array

    def invoke(self) -> None:
        """All is computed as it is asked for."""

    def get_tensor(self, name: str) -> np.ndarray:
        first, second = (self.given[one] for one in self.names)
        found: np.ndarray = first + second if name == "sum" else first - second
        return found


A, B = tensor("a", 1, 2), tensor("b", 1, 2)
SAMPLES = Sets(
    arrays={
        "a": np.array([[[5, 6]], [[1, 2]]], np.float32),
        "b": np.array([[[1, 1]], [[4, 3]]], np.float32),
    }
)
# a - b, then a + b
REFERENCE = Outputs(
    tensors=[tensor("difference", 1, 2), tensor("total", 1, 2)],
    arrays={
        "difference": np.array([[[4, 5]], [[-3, -1]]], np.float32),
        "total": np.array([[[6, 7]], [[5, 5]]], np.float32),
    },
    batch=1,
)


def bound(monkeypatch: pytest.MonkeyPatch, *names: str) -> tflite_binding.Bound:
    monkeypatch.setattr(tflite_graph, "interpreter", lambda _content: Subtraction(*names))
    return tflite_binding.run(b"", [A, B], SAMPLES, REFERENCE)


def test_names_that_are_kept_decide_and_outputs_alike_are_told_by_their_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = bound(monkeypatch, "serving_default_a:0", "serving_default_b:0")
    assert (found.inputs, found.outputs) == (None, ["total", "difference"])
    assert np.array_equal(found.found["difference"], REFERENCE.arrays["difference"])


def test_inputs_alike_without_names_are_told_by_what_comes_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Subtraction, "get_tensor", turned)
    found = bound(monkeypatch, "input_1", "input_2")
    assert found.inputs == ["b", "a"]
    assert np.array_equal(found.found["total"], REFERENCE.arrays["total"])


def turned(file: Subtraction, name: str) -> np.ndarray:
    """The second input less the first."""
    first, second = (file.given[one] for one in file.names)
    found: np.ndarray = first + second if name == "sum" else second - first
    return found


def test_a_file_with_other_inputs_says_which_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="has other inputs") as caught:
        bound(monkeypatch, "input_1")
    assert "the TFLite form has input_1: float32 (1, 2)" in caught.value.detail.replace(
        "np.int64(1)", "1"
    ).replace("np.int64(2)", "2")


def test_inputs_that_begin_with_zeros_are_told_apart_in_later_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is fed back is the difference; the file has `a` first, under names of its own."""
    monkeypatch.setattr(tflite_graph, "interpreter", lambda _content: Subtraction("x0", "x1"))
    a = np.array([[[0, 0]], [[1, 2]], [[4, 3]]], np.float32)
    difference = np.array([[[0, 0]], [[1, 2]], [[3, 1]]], np.float32)
    b = np.array([[[0, 0]], [[0, 0]], [[1, 2]]], np.float32)
    state = State(feeds=(Feed(input="b", output="difference"),))
    reference = Outputs(
        tensors=REFERENCE.tensors, arrays={"difference": difference, "total": a + b}, batch=1
    )
    samples = Sets(arrays={"b": b, "a": a}, state=state)
    found = tflite_binding.run(b"", [B, A], samples, reference)
    assert found.inputs == ["a", "b"]
    assert np.array_equal(found.found["difference"], difference)
    assert np.array_equal(found.found["total"], a + b)
