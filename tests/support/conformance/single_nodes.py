"""Graphs of one node, with what they are given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

Array = npt.NDArray[Any]
RANDOM = np.random.default_rng(0)


def floats(*shape: int) -> Array:
    """Numbers around zero."""
    return RANDOM.standard_normal(shape).astype(np.float32)


def f32(*values: float) -> Array:
    """These numbers as float32."""
    return np.array(values, np.float32)


def ints(*values: object) -> Array:
    """These numbers as int64, a list for a row."""
    return np.array(values, np.int64)


def one(
    operator: str,
    inputs: Mapping[str, Array],
    constants: Mapping[str, Array] | None = None,
    *,
    order: str = "",
    outputs: int = 1,
    opset: int = 21,
    domain: str = "",
    **said: Any,
) -> tuple[onnx.ModelProto, Mapping[str, Array]]:
    """A graph of one node, and what it is given.

    Args:
        operator: the node's.
        inputs: the graph's, by name.
        constants: by name.
        order: names of the node's inputs, `_` for one left out; inputs and constants if empty.
        outputs: how many it has.
        opset: of the graph.
        domain: of the node.
        said: attributes.
    """
    fixed = constants or {}
    names = [name.strip("_") for name in order.split()] or [*inputs, *fixed]
    results = [f"y{n}" for n in range(outputs)]
    node = helper.make_node(operator, names, results, name="the_node", domain=domain, **said)
    graph = helper.make_graph(
        [node],
        "rule",
        [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for name, array in inputs.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in results],
        [numpy_helper.from_array(array, name) for name, array in fixed.items()],
    )
    opsets = [helper.make_opsetid(name, at) for name, at in {domain: 1, "": opset}.items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10), inputs


def body(nodes: list[onnx.NodeProto], inputs: list[str], outputs: list[str]) -> onnx.GraphProto:
    """A graph inside of a node."""
    return helper.make_graph(
        nodes,
        "body",
        [onnx.ValueInfoProto(name=name) for name in inputs],
        [onnx.ValueInfoProto(name=name) for name in outputs],
    )
