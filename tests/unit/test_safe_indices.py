"""Indices that a network computes read and write inside of its tensors, whatever they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.support.conformance import pipeline
from toolchain.compile.operators.prepare import prepare
from toolchain.core.errors import ModelError

Array = npt.NDArray[np.generic]
TABLE = np.arange(1, 13, dtype=np.float32).reshape(4, 3)
# Far beyond, so that memory is read that nothing of the network's lies in.
FAR = 1 << 30


def graph(
    node: onnx.NodeProto, inputs: Mapping[str, Array], constants: Mapping[str, Array], opset: int
) -> onnx.ModelProto:
    made = helper.make_graph(
        [node],
        "indexed",
        [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
            )
            for name, value in inputs.items()
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def run(
    node: onnx.NodeProto,
    inputs: Mapping[str, Array],
    level: int,
    constants: Mapping[str, Array] | None = None,
    opset: int = 18,
) -> Array:
    (found,) = pipeline.run(graph(node, inputs, constants or {}, opset), inputs, level)
    return found


def ints(*values: object, kind: type[np.signedinteger] = np.int64) -> Array:
    return np.array(values, kind)


@pytest.mark.parametrize("level", [0, 3])
@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_gather_wraps_negative_indices_and_clamps_what_lies_outside(
    level: int, kind: type[np.signedinteger]
) -> None:
    node = helper.make_node("Gather", ["x", "i"], ["y"], axis=0)
    indices = ints(0, -1, -4, 3, 4, -5, FAR, -FAR, kind=kind)
    found = run(node, {"x": TABLE, "i": indices}, level)
    np.testing.assert_array_equal(found, TABLE[[0, 3, 0, 3, 3, 0, 3, 0]])


def test_gather_by_one_index_is_as_safe() -> None:
    node = helper.make_node("Gather", ["x", "i"], ["y"], axis=1)
    found = run(node, {"x": TABLE, "i": np.array(FAR)}, 3)
    np.testing.assert_array_equal(found, TABLE[:, 2])


def test_old_opsets_are_as_safe() -> None:
    node = helper.make_node("Gather", ["x", "i"], ["y"], axis=0)
    found = run(node, {"x": TABLE, "i": ints(FAR, -2)}, 3, opset=9)
    np.testing.assert_array_equal(found, TABLE[[3, 2]])


@pytest.mark.parametrize("level", [0, 3])
def test_gather_elements_is_safe(level: int) -> None:
    node = helper.make_node("GatherElements", ["x", "i"], ["y"], axis=0)
    found = run(node, {"x": TABLE, "i": ints([-1, FAR, -FAR], [1, 4, 0])}, level)
    np.testing.assert_array_equal(found, [[10, 11, 3], [4, 11, 3]])


@pytest.mark.parametrize("level", [0, 3])
def test_gather_nd_is_safe_along_each_axis(level: int) -> None:
    node = helper.make_node("GatherND", ["x", "i"], ["y"])
    indices = ints([-1, -1], [FAR, 0], [0, FAR], [-FAR, -FAR])
    found = run(node, {"x": TABLE, "i": indices}, level)
    np.testing.assert_array_equal(found, [12, 10, 3, 1])


def test_gather_nd_of_batches_is_safe() -> None:
    node = helper.make_node("GatherND", ["x", "i"], ["y"], batch_dims=1)
    found = run(node, {"x": TABLE, "i": ints([-1], [FAR], [0], [-FAR])}, 3)
    np.testing.assert_array_equal(found, [3, 6, 7, 10])


@pytest.mark.parametrize("level", [0, 3])
def test_scatter_nd_writes_inside_alone(level: int) -> None:
    node = helper.make_node("ScatterND", ["x", "i", "u"], ["y"])
    updates = np.array([20, 30], np.float32)
    found = run(node, {"x": TABLE, "i": ints([-1, FAR], [-FAR, 0]), "u": updates}, level)
    right = TABLE.copy()
    right[3, 2], right[0, 0] = 20, 30
    np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize("operator", ["ScatterElements", "Scatter"])
def test_scatter_elements_writes_inside_alone(operator: str) -> None:
    node = helper.make_node(operator, ["x", "i", "u"], ["y"], axis=0)
    updates = np.array([[20, 30, 40]], np.float32)
    opset = 10 if operator == "Scatter" else 18
    found = run(node, {"x": TABLE, "i": ints([-1, FAR, -FAR]), "u": updates}, 3, opset=opset)
    right = TABLE.copy()
    right[3, 0], right[3, 1], right[0, 2] = 20, 30, 40
    np.testing.assert_array_equal(found, right)


def test_max_unpool_writes_inside_alone() -> None:
    node = helper.make_node("MaxUnpool", ["x", "i"], ["y"], kernel_shape=[2, 2], strides=[2, 2])
    x = np.array([[[[5, 6]]]], np.float32)
    found = run(node, {"x": x, "i": ints([[[FAR, 1]]])}, 3)
    np.testing.assert_array_equal(found, [[[[0, 6, 0, 0], [0, 0, 0, 5]]]])


def test_regions_are_read_of_samples_that_exist() -> None:
    image = np.stack([np.full((1, 4, 4), n, np.float32) for n in (1, 2)])
    rois = np.array([[0, 0, 3, 3], [0, 0, 3, 3]], np.float32)
    node = helper.make_node("RoiAlign", ["x", "r", "i"], ["y"])
    found = run(node, {"x": image, "r": rois, "i": ints(FAR, -FAR)}, 3)
    np.testing.assert_array_equal(found.ravel(), [2, 1])
    node = helper.make_node("MaxRoiPool", ["x", "r"], ["y"], pooled_shape=[1, 1])
    named = np.concatenate([np.array([[FAR], [-FAR]], np.float32), rois], axis=1)
    found = run(node, {"x": image, "r": named}, 3)
    np.testing.assert_array_equal(found.ravel(), [2, 1])


def test_indices_into_what_has_no_known_size_are_safe() -> None:
    nodes = [
        helper.make_node("NonZero", ["x"], ["places"]),
        helper.make_node("Gather", ["places", "i"], ["taken"], axis=1),
        helper.make_node("Cast", ["taken"], ["y"], to=TensorProto.FLOAT),
    ]
    inputs = {"x": np.array([0, 1, 0, 1, 1], np.float32), "i": ints(-1, FAR, -FAR)}
    model = graph(nodes[0], inputs, {}, 18)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    for level in (0, 3):
        (found,) = pipeline.run(model, inputs, level)
        np.testing.assert_array_equal(found, [[4, 4, 1]])


@pytest.mark.parametrize("index", [4, -5])
@pytest.mark.parametrize("operator", ["Gather", "GatherElements", "GatherND"])
def test_a_constant_index_outside_is_refused_by_node(operator: str, index: int) -> None:
    node = helper.make_node(operator, ["x", "i"], ["y"], name="lookup")
    model = graph(node, {"x": TABLE}, {"i": ints([index])}, 18)
    with pytest.raises(ModelError, match=operator) as caught:
        prepare(model)
    assert "lookup" in caught.value.detail
    assert "an axis of 4" in caught.value.detail


def test_a_condition_that_is_longer_than_its_axis_is_refused() -> None:
    node = helper.make_node("Compress", ["x", "c"], ["y"], axis=0, name="choice")
    with pytest.raises(ModelError, match="Compress") as caught:
        prepare(graph(node, {"x": TABLE, "c": np.ones(5, bool)}, {}, 18))
    assert "choice" in caught.value.detail


def test_constant_indices_inside_stay_as_they_are() -> None:
    node = helper.make_node("Gather", ["x", "i"], ["y"])
    prepared = prepare(graph(node, {"x": TABLE}, {"i": ints(-1, 3)}, 18))
    assert [n.op_type for n in prepared.graph.node] == ["Gather"]


def test_constant_negative_indices_are_wrapped_where_no_importer_does() -> None:
    node = helper.make_node("GatherND", ["x", "i"], ["y"])
    prepared = prepare(graph(node, {"x": TABLE}, {"i": ints([-1, 2], [1, -3])}, 18))
    values = {t.name: numpy_helper.to_array(t) for t in prepared.graph.initializer}
    np.testing.assert_array_equal(values[prepared.graph.node[0].input[1]], [[3, 2], [1, 0]])


def branches(names: Sequence[str]) -> list[onnx.GraphProto]:
    return [
        helper.make_graph(
            [helper.make_node("Gather", ["x", "i"], [name])],
            name,
            [],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 3))],
        )
        for name in names
    ]


def test_indices_in_branches_are_safe() -> None:
    then, other = branches(["a", "b"])
    node = helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)
    inputs = {"x": TABLE, "i": ints(FAR), "c": np.array(True)}
    np.testing.assert_array_equal(run(node, inputs, 0), TABLE[[3]])
