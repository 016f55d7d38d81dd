"""ONNX graphs: what they say of their sizes, and how these are fixed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.support.conformance import structures
from toolchain.core.errors import ModelError, UsageError
from toolchain.formats import shapes
from toolchain.formats.graphs import onnx_graph
from toolchain.formats.graphs.onnx_graph import OnnxNetwork, is_open, rounds, sized
from toolchain.formats.signature import Tensor

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


def chosen_by(rate: onnx.ValueInfoProto) -> onnx.ModelProto:
    """Relu where the rate is 16000; another graph of another rank where it isn't."""

    def branch(name: str, node: onnx.NodeProto) -> onnx.GraphProto:
        out = helper.make_tensor_value_info(name, FLOAT, None)
        return helper.make_graph([node], name, [], [out])

    sixteen = helper.make_tensor("sixteen", TensorProto.INT64, [], [16000])
    nodes = [
        helper.make_node("Constant", [], ["sixteen"], value=sixteen),
        helper.make_node("Equal", ["sr", "sixteen"], ["is_sixteen"]),
        helper.make_node(
            "If", ["is_sixteen"], ["y"],
            then_branch=branch("a", helper.make_node("Relu", ["images"], ["a"])),
            else_branch=branch("b", helper.make_node("Flatten", ["images"], ["b"], axis=1)),
        ),
    ]  # fmt: skip
    return model(nodes, image(1, 3, "height", "width"), rate)


def test_an_input_that_is_held_is_none_and_chooses_its_branch() -> None:
    rate = helper.make_tensor_value_info("sr", TensorProto.INT64, [])
    network = OnnxNetwork(chosen_by(rate)).holding({"sr": 16000})
    assert [one.name for one in network.signature.inputs] == ["images"]
    assert "If" not in {node.op_type for node in network.model.graph.node}
    x = np.array([[[[-1.0]], [[2.0]], [[3.0]]]], np.float32)
    assert network.run({"images": x})["y"].tolist() == [[[[0.0]], [[2.0]], [[3.0]]]]


def test_one_number_fills_an_input_of_known_shape() -> None:
    offset = helper.make_tensor_value_info("offset", FLOAT, [3, 1, 1])
    added = helper.make_node("Add", ["images", "offset"], ["y"])
    held = OnnxNetwork(model([added], image(1, 3, 2, 2), offset)).holding({"offset": 2})
    assert held.run({"images": np.zeros((1, 3, 2, 2), np.float32)})["y"].tolist() == [
        [[[2.0, 2.0], [2.0, 2.0]]] * 3
    ]


@pytest.mark.parametrize(
    ("constants", "said"),
    [
        ({"rate": 1}, "rate: the model has no such input"),
        ({"sr": "sixteen"}, "sr can't be sixteen"),
        ({"sr": [1, 2]}, "sr is 2, and the model's input is scalar"),
        ({"images": 1}, r"images is scalar, and the model's input is 1x3x"),
    ],
)
def test_what_can_not_be_held_is_refused(constants: dict[str, object], said: str) -> None:
    rate = helper.make_tensor_value_info("sr", TensorProto.INT64, [])
    with pytest.raises(UsageError, match=said):
        OnnxNetwork(chosen_by(rate)).holding(constants)


def test_a_graph_that_its_runtime_takes_only_open_is_compiled_with_its_sizes() -> None:
    opened = chosen_by(helper.make_tensor_value_info("sr", TensorProto.INT64, []))
    assert is_open(opened)
    made = sized(opened, [Tensor(name="images", shape=(1, 3, 4, 5))])
    (images, _) = made.graph.input
    assert [d.dim_value for d in images.type.tensor_type.shape.dim] == [1, 3, 4, 5]
    assert not is_open(made)


def test_an_output_whose_shape_comes_of_arithmetic_is_described(tmp_path: Path) -> None:
    recogniser, inputs = structures.STRUCTURES["text recogniser"]()
    (output,) = recogniser.graph.output
    assert not output.type.tensor_type.HasField("shape")
    onnx.save(recogniser, tmp_path / "text.onnx")
    network = OnnxNetwork(onnx_graph.load(tmp_path / "text.onnx"))
    (found,) = network.run(dict(inputs)).values()
    assert network.signature.outputs[0].dims == found.shape


def test_an_output_of_a_shape_that_only_values_say_is_read(tmp_path: Path) -> None:
    shape = helper.make_tensor_value_info("shape", TensorProto.INT64, ["rank"])
    made = model([helper.make_node("Reshape", ["images", "shape"], ["y"])], image(2, 3), shape)
    onnx.save(made, tmp_path / "by-values.onnx")
    network = OnnxNetwork(onnx_graph.load(tmp_path / "by-values.onnx"))
    feeds = {"images": np.zeros((2, 3), np.float32), "shape": np.array([3, 2, 1])}
    assert network.run(feeds)["y"].shape == (3, 2, 1)


def test_a_graph_that_breaks_the_rules_is_still_refused(tmp_path: Path) -> None:
    broken = model([helper.make_node("Relu", ["nowhere"], ["y"])], image(2, 3))
    onnx.save(broken, tmp_path / "broken.onnx")
    with pytest.raises(ModelError, match="breaks ONNX's rules") as caught:
        onnx_graph.load(tmp_path / "broken.onnx")
    assert "nowhere" in caught.value.detail
