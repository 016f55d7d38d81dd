"""ONNX graphs: what they say of their sizes, and how these are fixed."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from toolchain.core.errors import ModelError
from toolchain.formats import shapes
from toolchain.formats.graphs.onnx_graph import OnnxNetwork, rounds

FLOAT = TensorProto.FLOAT


def model(nodes: list[onnx.NodeProto], *inputs: onnx.ValueInfoProto) -> onnx.ModelProto:
    out = helper.make_tensor_value_info("y", FLOAT, None)
    graph = helper.make_graph(nodes, "net", inputs, [out])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(made)


def image(*dims: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info("images", FLOAT, dims)


RELU = helper.make_node("Relu", ["images"], ["y"])


def test_a_detectors_size_is_what_its_exporter_wrote() -> None:
    detector = model([RELU], image("batch", 3, "height", "width"))
    helper.set_model_props(detector, {"imgsz": "[320, 640]", "stride": "32"})
    network = OnnxNetwork(detector)
    known = network.known_shapes(2)
    assert known == {"images": (2, 3, 320, 640)}
    inputs, batch = shapes.fixed(network.signature, 2, known)
    assert batch == 2
    (value,) = network.to_onnx(inputs, "net").graph.output
    assert [d.dim_value for d in value.type.tensor_type.shape.dim] == [2, 3, 320, 640]


def test_a_size_that_is_fixed_is_not_taken_from_the_metadata() -> None:
    detector = model([RELU], image(1, 3, 64, 64))
    helper.set_model_props(detector, {"imgsz": "[320, 640]"})
    assert OnnxNetwork(detector).known_shapes(1) == {}


def test_what_exporters_write_for_an_unknown_size_is_open() -> None:
    (given,) = OnnxNetwork(model([RELU], image(-1, 3, 0, "?"))).signature.inputs
    assert given.dims == (None, 3, None, None)


def test_batches_that_tf2onnx_numbered_apart_are_one() -> None:
    add = helper.make_node("Add", ["images", "others"], ["y"])
    others = helper.make_tensor_value_info("others", FLOAT, ("unk__13", 21))
    network = OnnxNetwork(model([add], image("unk__12", 21), others))
    inputs, batch = shapes.fixed(network.signature, 2)
    assert ([one.shape for one in inputs], batch) == ([(2, 21), (2, 21)], 2)


def test_a_node_that_contradicts_the_sizes_is_named() -> None:
    node = helper.make_node("MatMul", ["images", "images"], ["y"], name="square")
    network = OnnxNetwork(model([node], image("rows", "columns")))
    with pytest.raises(ModelError, match="can't run") as caught:
        network.run({"images": np.zeros((2, 3), np.float32)})
    assert "square" in caught.value.detail


def test_a_graph_whose_other_branch_contradicts_the_sizes_stays_as_it_is() -> None:
    def branch(*nodes: onnx.NodeProto) -> onnx.GraphProto:
        return helper.make_graph(
            nodes, "branch", [], [helper.make_tensor_value_info("out", FLOAT, None)]
        )

    squeezed = branch(
        helper.make_node("Squeeze", ["images"], ["row"]),
        helper.make_node("Transpose", ["row"], ["out"], perm=[1, 0]),
    )
    plain = branch(helper.make_node("Relu", ["images"], ["out"]))
    choice = helper.make_node("If", ["flag"], ["y"], then_branch=squeezed, else_branch=plain)
    flag = helper.make_tensor_value_info("flag", TensorProto.BOOL, ())
    network = OnnxNetwork(model([choice], image("batch", "rows", "columns"), flag))
    inputs, _ = shapes.fixed(network.signature, 1, {"images": (1, 4, 1)})
    assert network.to_onnx(inputs, "net") is network.model
    x = np.ones((1, 4, 1), np.float32)
    assert network.run({"images": x, "flag": np.array(False)})["y"].shape == x.shape


@pytest.mark.parametrize(
    ("operator", "expected"),
    [("QLinearConv", True), ("MatMulInteger", True), ("QuantizeLinear", True), ("Relu", False)],
)
def test_a_graph_that_rounds_is_known_by_its_operators(operator: str, *, expected: bool) -> None:
    graph = helper.make_graph([helper.make_node(operator, ["a"], ["b"])], "net", [], [])
    assert rounds(helper.make_model(graph)) == expected
