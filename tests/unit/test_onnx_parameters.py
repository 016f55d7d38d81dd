"""A quantisation parameter of an ONNX graph that can't be one is named when the file is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.support.quantized_networks import convolution
from toolchain.core.errors import ModelError
from toolchain.formats.graphs import onnx_graph

NAN, INFINITY = float("nan"), float("inf")


def saved(folder: Path, **constants: npt.NDArray[np.generic]) -> Path:
    """A rounded convolution, 3 to 4 channels, whose constants are these instead."""
    model = convolution((1, 3, 9, 9), 4, 3, pads=[1, 1, 1, 1])
    for tensor in model.graph.initializer:
        if tensor.name in constants:
            tensor.CopyFrom(numpy_helper.from_array(constants[tensor.name], tensor.name))
    for node in model.graph.node:
        node.name = f"the {node.op_type} of {node.output[0]}"
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


def test_one_that_can_be_is_taken(tmp_path: Path) -> None:
    assert onnx_graph.load(saved(tmp_path)).graph.node


@pytest.mark.parametrize(
    ("constants", "operator", "tensor", "why"),
    [
        ({"s": np.array(0, np.float32)}, "QuantizeLinear", "x", "s is zero"),
        ({"s": np.array(NAN, np.float32)}, "QuantizeLinear", "x", "s is not finite"),
        ({"s": np.zeros(0, np.float32)}, "QuantizeLinear", "x", "s is empty"),
        (
            {"w_s": np.array([1, 1, 1, INFINITY], np.float32)},
            "DequantizeLinear",
            "w_steps",
            "w_s is not finite",
        ),
        (
            {"w_s": np.ones(3, np.float32), "w_z": np.zeros(3, np.int8)},
            "DequantizeLinear",
            "w_steps",
            "3 scales along axis 0 of 4",
        ),
        ({"w_z": np.zeros(3, np.int8)}, "DequantizeLinear", "w_steps", "4 scales and 3 zero"),
    ],
)
def test_one_that_cannot_be_is_refused_by_operator_and_tensor(
    constants: dict[str, npt.NDArray[np.generic]],
    operator: str,
    tensor: str,
    why: str,
    tmp_path: Path,
) -> None:
    with pytest.raises(ModelError) as caught:
        onnx_graph.load(saved(tmp_path, **constants))
    assert f"operator {operator}, node the {operator} of" in caught.value.detail
    assert f"tensor {tensor}: " in caught.value.detail
    assert why in caught.value.detail


def qlinear(path: Path, **scales: float) -> Path:
    numbers = {"xs": 0.1, "ws": 0.1, "ys": 0.1, **scales}
    shapes = {"x": (1, 2, 4, 4), "w": (2, 2, 1, 1)}
    graph = helper.make_graph(
        [
            helper.make_node(
                "QLinearConv", ["x", "xs", "z", "w", "ws", "z", "ys", "z"], ["y"], name="layer"
            )
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.INT8, shapes["x"])],
        [helper.make_tensor_value_info("y", TensorProto.INT8, shapes["x"])],
        [
            numpy_helper.from_array(np.ones(shapes["w"], np.int8), "w"),
            numpy_helper.from_array(np.array(0, np.int8), "z"),
            *(numpy_helper.from_array(np.array(v, np.float32), k) for k, v in numbers.items()),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


@pytest.mark.parametrize(("scale", "tensor"), [("xs", "x"), ("ws", "w"), ("ys", "y")])
def test_each_of_an_operator_over_steps_is_looked_at(
    scale: str, tensor: str, tmp_path: Path
) -> None:
    path = qlinear(tmp_path / "model.onnx")
    assert onnx_graph.load(path).graph.node
    with pytest.raises(ModelError) as caught:
        onnx_graph.load(qlinear(path, **{scale: 0.0}))
    assert f"node layer, tensor {tensor}: scale {scale} is zero" in caught.value.detail


def test_a_bias_of_steps_that_no_float_tells_from_zero_is_taken(tmp_path: Path) -> None:
    model = convolution((1, 3, 9, 9), 4, 3, pads=[1, 1, 1, 1])
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(4, np.int32), "b_steps"))
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((), np.float32), "b_s"))
    model.graph.node.insert(0, helper.make_node("DequantizeLinear", ["b_steps", "b_s"], ["bias"]))
    (layer,) = [node for node in model.graph.node if node.op_type == "Conv"]
    layer.input[2] = "bias"
    onnx.save(model, tmp_path / "model.onnx")
    assert onnx_graph.load(tmp_path / "model.onnx").graph.node


def test_an_operator_over_steps_takes_one_zero_point_for_all_scales(tmp_path: Path) -> None:
    path = qlinear(tmp_path / "model.onnx")
    model = onnx.load(path)
    (tensor,) = [one for one in model.graph.initializer if one.name == "ws"]
    weights = next(one for one in model.graph.initializer if one.name == "w")
    scales = np.ones(weights.dims[0], np.float32)
    tensor.CopyFrom(numpy_helper.from_array(scales, "ws"))
    onnx.save(model, path)
    assert scales.size > 1
    assert onnx_graph.load(path).graph.node


def test_an_operator_without_its_inputs_is_an_error_of_the_file(tmp_path: Path) -> None:
    for inputs, outputs in (([], ["y"]), (["x"], [])):
        node = helper.make_node("DequantizeLinear", inputs, outputs)
        graph = helper.make_graph(
            [node],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.INT8, (1,))],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1,))],
        )
        path = tmp_path / "model.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
        with pytest.raises(ModelError):
            onnx_graph.load(path)
