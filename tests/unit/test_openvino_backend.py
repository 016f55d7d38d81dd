"""OpenVINO on a device: what its compiler is told, and how tensors go in and out."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from edgewright_runner import backends


class Request:
    """Adds its two inputs, whichever types they have."""

    def __init__(self) -> None:
        self.given: dict[int, Any] = {}
        self.made = np.zeros(3, np.float32)

    def set_input_tensor(self, number: int, tensor: Any) -> None:
        self.given[number] = tensor

    def infer(self) -> None:
        self.made[:] = self.given[0] + self.given[1]

    def get_output_tensor(self, number: int) -> SimpleNamespace:
        assert number == 0
        return SimpleNamespace(data=self.made)


def described(dtype: Any) -> SimpleNamespace:
    return SimpleNamespace(element_type=SimpleNamespace(to_dtype=lambda: np.dtype(dtype)))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A stand-in for the library, and what its compiler is told."""
    told: dict[str, Any] = {}
    request = Request()
    compiled = SimpleNamespace(
        inputs=[described(np.float32), described(np.int64)],
        outputs=[described(np.float32)],
        create_infer_request=lambda: request,
    )

    def compile_model(model: str, device: str, settings: dict[str, Any]) -> SimpleNamespace:
        told.update(settings, model=model, device=device)
        return compiled

    module = ModuleType("openvino")
    core = SimpleNamespace(read_model=lambda path: path, compile_model=compile_model)
    vars(module).update(Core=lambda: core, Tensor=lambda array: array)
    monkeypatch.setitem(sys.modules, "openvino", module)
    return told


def loaded() -> backends.Backend:
    backend = backends.open_runtime("openvino", 3)
    backend.load("net.onnx")
    return backend


def test_float32_is_computed_as_float32_on_so_many_threads(told: dict[str, Any]) -> None:
    loaded()
    assert (told["model"], told["device"]) == ("net.onnx", "CPU")
    assert told["INFERENCE_NUM_THREADS"] == 3
    assert told["INFERENCE_PRECISION_HINT"] == "f32"
    assert told["DYNAMIC_QUANTIZATION_GROUP_SIZE"] == 0


def test_tensors_go_by_the_networks_names_and_the_graphs_types(told: dict[str, Any]) -> None:
    backend = loaded()
    backend.bind({"inputs": [{"name": "a"}, {"name": "b"}], "outputs": [{"name": "sum"}]})
    a = np.arange(3, dtype=np.float32)
    backend.set_inputs({"b": np.ones(3, np.int32), "a": a})
    backend.run()
    first = backend.outputs()["sum"]
    assert np.array_equal(first, a + 1)
    backend.set_inputs({"b": np.full(3, 5, np.int32), "a": a})
    backend.run()
    assert np.array_equal(backend.outputs()["sum"], a + 5)
    assert np.array_equal(first, a + 1), "it was a copy"


def test_a_graph_with_another_number_of_outputs_is_refused(told: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="the model has 1 outputs, 0 were expected"):
        loaded().bind({"inputs": [{"name": "a"}, {"name": "b"}], "outputs": []})
