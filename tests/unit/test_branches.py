"""An If whose condition comes from an input: both branches are computed, and one is taken."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.support.conformance import pipeline
from tests.support.conformance.single_nodes import body, floats, ints
from toolchain.compile.operators.graph import Graph
from toolchain.compile.operators.prepare import prepare
from toolchain.core.errors import ModelError
from toolchain.formats import onnx_reference

X = floats(3, 4)


def chosen_by_an_input(then: onnx.GraphProto, other: onnx.GraphProto) -> onnx.ModelProto:
    """Of x (3, 4) and a rate: the first branch where the rate is 16000."""
    constants = [
        numpy_helper.from_array(value, name)
        for name, value in {"r": np.array(16000), "axes": ints(0), "keep": ints(0, 2)}.items()
    ]
    nodes = [
        helper.make_node("Equal", ["rate", "r"], ["c"]),
        helper.make_node("If", ["c"], ["y"], "by_rate", then_branch=then, else_branch=other),
    ]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape),
        helper.make_tensor_value_info("rate", TensorProto.INT64, []),
    ]
    made = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "branches", inputs, made, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def nested() -> onnx.GraphProto:
    """A branch with an If of its own, by rank: known only when the branch is out in the open."""
    shape = helper.make_node("Shape", ["kept"], ["shape"])
    rank = helper.make_node("Size", ["shape"], ["rank"])
    two = helper.make_node("Constant", [], ["two"], value_int=2)
    flat = body([helper.make_node("Identity", ["kept"], ["i"])], [], ["i"])
    deep = body([helper.make_node("Unsqueeze", ["kept", "axes"], ["s"])], [], ["s"])
    inner = helper.make_node("If", ["is_flat"], ["z"], then_branch=flat, else_branch=deep)
    nodes = [
        helper.make_node("Neg", ["x"], ["kept"]), shape, rank, two,
        helper.make_node("Equal", ["rank", "two"], ["is_flat"]), inner,
    ]  # fmt: skip
    return body(nodes, [], ["z"])


@pytest.mark.parametrize("level", [0, 3])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_the_branch_of_each_condition_is_taken(rate: int, level: int) -> None:
    exponent = body([helper.make_node("Exp", ["x"], ["e"])], [], ["e"])
    model = chosen_by_an_input(nested(), exponent)
    inputs = {"x": X, "rate": np.array(rate)}
    (found,) = pipeline.run(model, inputs, level)
    (right,) = onnx_reference.run(model, inputs)
    np.testing.assert_allclose(found, np.asarray(right), rtol=1e-5)


def test_branches_of_different_shapes_are_refused_by_the_if() -> None:
    part = body([helper.make_node("Gather", ["x", "keep"], ["g"])], [], ["g"])
    whole = body([helper.make_node("Neg", ["x"], ["n"])], [], ["n"])
    with pytest.raises(ModelError, match="If") as caught:
        prepare(chosen_by_an_input(part, whole))
    assert "by_rate" in caught.value.detail
    assert "[2, 4] and [3, 4]" in caught.value.detail


def test_a_new_name_is_not_that_of_a_constant() -> None:
    model = chosen_by_an_input(nested(), nested())
    model.graph.initializer.append(numpy_helper.from_array(X, "inner__1"))
    graph = Graph(model)
    assert graph.const(X, "inner") != "inner__1"
