"""What integers a graph takes: below the rows of the tables that they pick from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from toolchain.formats.graphs import onnx_uses


def graph(nodes: Sequence[onnx.NodeProto], **constants: np.ndarray) -> onnx.ModelProto:
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, (1, 4))
    mask = helper.make_tensor_value_info("mask", TensorProto.INT64, (1, 4))
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    kept = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    return helper.make_model(helper.make_graph(nodes, "g", [ids, mask], [out], kept))


def test_an_index_is_below_the_smallest_table_that_it_reaches() -> None:
    nodes = [
        helper.make_node("Cast", ["ids"], ["narrow"], to=TensorProto.INT32),
        helper.make_node("Reshape", ["narrow", "flat"], ["row"]),
        helper.make_node("Gather", ["words", "row"], ["a"]),
        helper.make_node("Gather", ["positions", "ids"], ["b"], axis=1),
        helper.make_node("Mul", ["a", "mask"], ["y"]),
    ]
    found = onnx_uses.index_limits(
        graph(
            nodes,
            words=np.zeros((50, 3), np.float32),
            positions=np.zeros((3, 20), np.float32),
            flat=np.array([4]),
        )
    )
    assert found == {"ids": 20}


def test_what_is_made_one_hot_is_below_its_depth() -> None:
    nodes = [helper.make_node("OneHot", ["ids", "depth", "values"], ["y"])]
    found = onnx_uses.index_limits(graph(nodes, depth=np.array(257), values=np.zeros(2)))
    assert found == {"ids": 257}


def test_a_list_that_one_number_is_picked_from_is_no_table() -> None:
    nodes = [helper.make_node("Gather", ["sizes", "ids"], ["y"])]
    assert onnx_uses.index_limits(graph(nodes, sizes=np.zeros(9, np.float32))) == {}


NEGATIVE = [
    helper.make_node("Less", ["ids", "zero"], ["negative"]),
    helper.make_node("Add", ["ids", "rows"], ["from_end"]),
]
CHOICES = {
    "Where": [helper.make_node("Where", ["negative", "from_end", "ids"], ["row"])],
    "two products": [
        helper.make_node("Not", ["negative"], ["positive"]),
        helper.make_node("Cast", ["negative"], ["if_negative"], to=TensorProto.INT64),
        helper.make_node("Cast", ["positive"], ["if_positive"], to=TensorProto.INT64),
        helper.make_node("Mul", ["if_negative", "from_end"], ["one"]),
        helper.make_node("Mul", ["ids", "if_positive"], ["other"]),
        helper.make_node("Add", ["one", "other"], ["row"]),
    ],
}


@pytest.mark.parametrize("choice", CHOICES)
def test_an_index_that_may_count_from_the_end_is_below_its_table(choice: str) -> None:
    nodes = [*NEGATIVE, *CHOICES[choice], helper.make_node("Gather", ["words", "row"], ["y"])]
    words = np.zeros((50, 3), np.float32)
    found = onnx_uses.index_limits(graph(nodes, words=words, zero=np.array(0), rows=np.array(50)))
    assert found == {"ids": 50}


def test_an_index_that_is_moved_is_none_of_the_table() -> None:
    nodes = [NEGATIVE[1], helper.make_node("Gather", ["words", "from_end"], ["y"])]
    words = np.zeros((99, 3), np.float32)
    assert onnx_uses.index_limits(graph(nodes, words=words, rows=np.array(50))) == {}
