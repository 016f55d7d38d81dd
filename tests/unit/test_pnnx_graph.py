"""What is said in another way to pnnx computes the same."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from toolchain.convert.pnnx.graph import readable


def a_model(nodes: list[NodeProto], shape: tuple[int, ...], **held: np.ndarray) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)],
        [numpy_helper.from_array(array, name) for name, array in held.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def same(model: onnx.ModelProto, shape: tuple[int, ...]) -> onnx.ModelProto:
    """The model said in another way, which gives the same."""
    changed = readable(model)
    onnx.checker.check_model(changed)
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    (expected,) = ReferenceEvaluator(model).run(None, {"x": x})
    (found,) = ReferenceEvaluator(changed).run(None, {"x": x})
    assert np.array_equal(found, expected)
    return changed


def test_a_pad_names_its_mode() -> None:
    shape = (1, 2, 3, 4)
    pads = np.array([0, 0, 0, 0, 0, 0, 1, 1])
    changed = same(a_model([helper.make_node("Pad", ["x", "p"], ["y"])], shape, p=pads), shape)
    (attribute,) = changed.graph.node[0].attribute
    assert (attribute.name, attribute.s) == ("mode", b"constant")
    reflected = a_model([helper.make_node("Pad", ["x", "p"], ["y"], mode="reflect")], shape, p=pads)
    assert readable(reflected) == reflected


@pytest.mark.parametrize("repeats", [[1, 1, 2, 1], [1, 3, 1, 1]])
def test_a_tile_along_one_axis_is_a_concat(repeats: list[int]) -> None:
    shape = (1, 2, 3, 4)
    node = helper.make_node("Tile", ["x", "r"], ["y"])
    assert operators(same(a_model([node], shape, r=np.array(repeats)), shape)) == ["Concat"]


@pytest.mark.parametrize("repeats", [[1, 2, 2, 1], [1, 1, 1, 1], [1, 1, 1, 1000], [1, 0, 1, 1]])
def test_other_tiles_stay(repeats: list[int]) -> None:
    node = helper.make_node("Tile", ["x", "r"], ["y"])
    model = a_model([node], (1, 2, 3, 4), r=np.array(repeats))
    assert readable(model) == model


def test_a_tile_by_what_is_computed_stays() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["r"]),
        helper.make_node("Tile", ["x", "r"], ["y"]),
    ]
    model = a_model(nodes, (1, 2, 3, 4))
    assert readable(model) == model


@pytest.mark.parametrize("mode", [None, "DCR"])
def test_depth_column_row_is_a_shuffle_and_the_other_order(mode: str | None) -> None:
    shape, said = (2, 12, 3, 4), {} if mode is None else {"mode": mode}
    node = helper.make_node("DepthToSpace", ["x"], ["y"], blocksize=2, **said)
    changed = same(a_model([node], shape), shape)
    assert operators(changed) == ["Reshape", "Transpose", "Reshape", "DepthToSpace"]
    other = a_model(
        [helper.make_node("DepthToSpace", ["x"], ["y"], blocksize=2, mode="CRD")], shape
    )
    assert readable(other) == other


def test_a_split_names_the_sizes_of_its_parts() -> None:
    shape = (1, 5, 3, 2)
    nodes = [
        helper.make_node("Split", ["x"], ["a", "b"], axis=1, num_outputs=2),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    model = a_model(nodes, shape)
    model.opset_import[0].version = 18
    changed = same(model, shape)
    (sizes,) = changed.graph.initializer
    assert list(numpy_helper.to_array(sizes)) == [3, 2]
    assert readable(changed) == changed
