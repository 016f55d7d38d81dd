"""The variant float16 of an ONNX graph: which constants are halved, and what it computes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from toolchain.convert.variants import onnx_halves
from toolchain.core.errors import ModelError
from toolchain.formats.graphs import onnx_graph

RANDOM = np.random.default_rng(7)
X = RANDOM.normal(size=(2, 16)).astype(np.float32)


def a_model(
    nodes: list[NodeProto], inputs: tuple[str, ...] = (), **held: object
) -> onnx.ModelProto:
    arrays = {name: np.asarray(array, np.float32) for name, array in held.items()}
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape)]
        + [helper.make_tensor_value_info(n, TensorProto.FLOAT, arrays[n].shape) for n in inputs],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", "columns"])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def held(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}


def output(model: onnx.ModelProto) -> np.ndarray:
    (found,) = onnx_graph.run(onnx_graph.session(model), {"x": X}).values()
    return np.asarray(found)


def test_weights_are_half_as_large_and_the_network_computes_in_float32_as_before() -> None:
    weights = RANDOM.normal(size=(16, 16))
    nodes = [
        helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(
            RANDOM.normal(size=(16, 8)).astype(np.float32))),
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["a"]),
        helper.make_node("MatMul", ["a", "k"], ["y"]),
    ]  # fmt: skip
    model = a_model(nodes, w=weights, b=RANDOM.normal(size=16))
    halved = onnx_halves.halved(model)
    onnx.checker.check_model(halved, full_check=True)
    assert {a.dtype for a in held(halved).values()} == {np.dtype("float16"), np.dtype("float32")}
    assert held(halved)["b"].dtype == np.float32, "a bias is not worth it"
    assert "k_float16" in {name for node in halved.graph.node for name in node.output}
    rounded = a_model(nodes, w=weights.astype(np.float16), b=held(model)["b"])
    rounded.graph.node[0].attribute[0].t.CopyFrom(
        numpy_helper.from_array(
            numpy_helper.to_array(nodes[0].attribute[0].t).astype(np.float16).astype(np.float32)
        )
    )
    assert np.array_equal(output(halved), output(rounded))
    assert 0 < np.abs(output(halved) - output(model)).max() < 0.05
    assert held(model)["w"].dtype == np.float32, "the source is as it was"


@pytest.mark.parametrize("value", [70000.0, np.inf, np.nan])
def test_a_constant_that_float16_can_not_hold_stays(value: float) -> None:
    weights = RANDOM.normal(size=(16, 16))
    weights[3, 3] = value
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("MatMul", ["m", "v"], ["y"]),
    ]
    halved = onnx_halves.halved(a_model(nodes, w=weights, v=RANDOM.normal(size=(16, 16))))
    assert {name: a.dtype.name for name, a in held(halved).items()} == {
        "w": "float32",
        "v_float16": "float16",
    }


def test_scales_outputs_and_what_may_be_given_stay() -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s"], ["q"], axis=1),
        helper.make_node("DequantizeLinear", ["q", "s"], ["d"], axis=1),
        helper.make_node("MatMul", ["d", "w"], ["y"]),
    ]
    model = a_model(nodes, ("w",), s=np.full(64, 0.1), w=RANDOM.normal(size=(16, 16)))
    with pytest.raises(ModelError, match="nothing of the network can be float16"):
        onnx_halves.halved(model)
