"""ONNX Runtime on a device: what it is told before it is imported, and real graphs through it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgewright_runner import backends
from onnx import TensorProto, helper

from toolchain.core import paths, process

RUNNER = paths.ROOT / "deploy" / "runner"
SIGNATURE: dict[str, list[dict[str, str]]] = {
    "inputs": [{"name": "left"}, {"name": "right"}],
    "outputs": [{"name": "sum", "dtype": "float32"}, {"name": "count", "dtype": "int32"}],
}


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """Two inputs of different types, two outputs, none called as the network calls them."""
    nodes = [
        helper.make_node("Cast", ["b"], ["b_float"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["a", "b_float"], ["y"]),
        helper.make_node("Size", ["a"], ["n"]),
    ]
    given = [
        helper.make_tensor_value_info("a", TensorProto.FLOAT, [2, 3]),
        helper.make_tensor_value_info("b", TensorProto.INT64, [2, 3]),
    ]
    made = [
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3]),
        helper.make_tensor_value_info("n", TensorProto.INT64, []),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "net", given, made),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(model, tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


@pytest.mark.parametrize("threads", [1, 2])
def test_inputs_and_outputs_go_by_the_networks_names_and_types(graph: Path, threads: int) -> None:
    backend = backends.open_runtime("onnxruntime", threads)
    backend.load(str(graph))
    backend.bind(SIGNATURE)
    left = np.arange(6, dtype=np.float32).reshape(2, 3)
    # int32, where the graph takes int64
    backend.set_inputs({"left": left, "right": np.ones((2, 3), np.int32)})
    backend.run()
    outputs = backend.outputs()
    assert list(outputs) == ["sum", "count"]
    assert np.array_equal(outputs["sum"], left + 1)
    assert outputs["count"].dtype == np.int32
    assert outputs["count"].item() == 6
    assert backend.delegated() is None


def test_an_inference_leaves_the_outputs_of_the_one_before_alone(graph: Path) -> None:
    backend = backends.open_runtime("onnxruntime", 1)
    backend.load(str(graph))
    backend.bind(SIGNATURE)
    ones = np.ones((2, 3), np.int64)
    backend.set_inputs({"left": np.zeros((2, 3), np.float32), "right": ones})
    backend.run()
    first = backend.outputs()["sum"]
    backend.set_inputs({"left": np.full((2, 3), 9, np.float32), "right": ones})
    backend.run()
    assert (first == 1).all()
    assert (backend.outputs()["sum"] == 10).all()


def test_a_graph_with_another_number_of_inputs_is_refused(graph: Path) -> None:
    backend = backends.open_runtime("onnxruntime", 1)
    backend.load(str(graph))
    with pytest.raises(ValueError, match="the model has 2 inputs, 1 were expected"):
        backend.bind({"inputs": SIGNATURE["inputs"][:1], "outputs": SIGNATURE["outputs"]})


def test_what_it_measures_there_goes_nowhere_else(graph: Path, tmp_path: Path) -> None:
    """A session leaves nothing in the home, where the published wheels keep what they report."""
    home = tmp_path / "home"
    home.mkdir()
    script = (
        f"import sys; sys.path.insert(0, {str(RUNNER)!r})\n"
        "from edgewright_runner import backends\n"
        f"backends.open_runtime('onnxruntime', 1).load({str(graph)!r})\n"
        "import os, json; print(json.dumps(os.environ['ORT_DISABLE_TELEMETRY']))"
    )
    path = re.compile("PATH")
    said = process.run([sys.executable, "-c", script], env={"HOME": str(home)}, passed=path)
    assert json.loads(said) == "1"
    assert list(home.rglob("*")) == []
