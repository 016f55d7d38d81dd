"""A model file looked at before it is converted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.support.networks import model, random
from toolchain import runtimes
from toolchain.core.store import Store
from toolchain.inspection import graph_costs, inspection
from toolchain.models.resolve import resolve_model


def conv(groups: int) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1], group=groups),
        helper.make_node("Relu", ["a"], ["y"]),
    ]
    return model(nodes, (1, 4, 8, 8), {"w": random(8, 4 // groups, 3, 3)})


@pytest.mark.parametrize(("groups", "each"), [(1, 36), (2, 18), (4, 9)])
def test_a_convolution_takes_its_kernel_for_each_output(groups: int, each: int) -> None:
    found = graph_costs.costs(conv(groups))
    assert found.multiply_adds == 8 * 8 * 8 * each
    assert found.parameters == 8 * each
    assert found.weights_bytes == 4 * found.parameters
    # the convolution's output and Relu's are there at once
    assert found.activations_bytes == 4 * 2 * 8 * 8 * 8


def test_a_transposed_convolution_takes_its_kernel_for_each_input() -> None:
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])
    found = graph_costs.costs(model([node], (1, 4, 5, 5), {"w": random(4, 6, 2, 2)}))
    assert found.multiply_adds == 4 * 5 * 5 * 6 * 2 * 2


@pytest.mark.parametrize("operator", ["MatMul", "Gemm"])
def test_a_product_of_matrices(operator: str) -> None:
    node = helper.make_node(operator, ["x", "w"], ["y"])
    found = graph_costs.costs(model([node], (3, 5), {"w": random(5, 7)}))
    assert found.multiply_adds == 3 * 5 * 7


def test_a_recurrent_cell_takes_both_of_its_matrices_at_each_step() -> None:
    hidden, size, steps = 6, 5, 4
    node = helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=hidden)
    weights = {"w": random(1, 4 * hidden, size), "r": random(1, 4 * hidden, hidden)}
    found = graph_costs.costs(model([node], (steps, 1, size), weights))
    assert found.multiply_adds == steps * 4 * hidden * (size + hidden)


def test_memory_is_that_of_what_is_alive_and_not_of_all() -> None:
    """Three of a chain of ten are never there at once; what comes back in is there all along."""
    nodes = [helper.make_node("Relu", [f"a{n}"], [f"a{n + 1}"]) for n in range(9)]
    nodes[0].input[0] = "x"
    nodes.append(helper.make_node("Add", ["a9", "a1"], ["y"]))
    found = graph_costs.costs(model(nodes, (1, 100)))
    assert found.activations_bytes == 4 * 3 * 100


def open_file(folder: Path) -> Path:
    weights = numpy_helper.from_array(np.ones((8, 3, 3, 3), np.float32), "w")
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "height", "width"])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "net", [given], [made], [weights])
    path = folder / "net.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    return path


def test_a_file_is_described_and_nothing_is_made_of_it(tmp_path: Path) -> None:
    path = open_file(tmp_path)
    spec = resolve_model(model_file=path, shapes={"x": (1, 3, 10, 10)})
    found = inspection.inspect(spec, 1, cache=Store(tmp_path / "cache"))
    assert found.reading.operators == {"Conv": 1}
    assert found.reading.costs is not None
    assert found.reading.costs.multiply_adds == 8 * 8 * 8 * 27
    assert found.runtimes == {
        "executorch": "it is made of pytorch files alone",
        "litert": inspection.LATER,
        "ncnn": runtimes.runtime("ncnn").unmade() or inspection.LATER,
        "onnxruntime": inspection.LATER,
        "opencv": inspection.LATER,
        "openvino": inspection.LATER,
        "tflite": inspection.LATER,
        "tvm": inspection.TAKEN,
    }
    assert found.plain()["model"] == "net"
    assert {p.name for p in tmp_path.iterdir()} == {"net.onnx", "cache"}


def test_open_sizes_are_said_with_what_to_type(tmp_path: Path) -> None:
    spec = resolve_model(model_file=open_file(tmp_path))
    found = inspection.inspect(spec, 1, cache=Store(tmp_path / "cache"))
    assert "--shape x=1x3x" in found.reading.sizes
    assert [str(tensor) for tensor in found.reading.inputs] == ["x: float32 (n, 3, height, width)"]
    assert found.reading.costs is None


def test_an_operator_that_no_compiler_imports_is_named(tmp_path: Path) -> None:
    node = helper.make_node("RandomNormalLike", ["x"], ["y"], name="drawn")
    path = tmp_path / "net.onnx"
    onnx.save(model([node], (2, 6)), path)
    found = inspection.inspect(resolve_model(model_file=path), 1, cache=Store(tmp_path / "cache"))
    assert "operator RandomNormalLike" in found.runtimes["tvm"]
    assert "drawn" in found.runtimes["tvm"]


def test_a_state_is_told(tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["x", "h"], ["y"]), helper.make_node("Tanh", ["y"], ["hn"])]
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 2)) for name in ("x", "h")]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 2)) for name in ("y", "hn")]
    opsets = [helper.make_opsetid("", 17)]
    graph = helper.make_graph(nodes, "cell", given, made)
    path = tmp_path / "cell.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    found = inspection.inspect(resolve_model(model_file=path), 1, cache=Store(tmp_path / "cache"))
    assert found.reading.state == "hn goes to h; in sequences of 8 steps"
