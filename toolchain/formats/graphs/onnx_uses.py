"""What an ONNX graph does with its integer inputs, as far as one must know to choose values."""

from __future__ import annotations

import math
from collections import defaultdict

import onnx
from onnx import numpy_helper

# operators after which an index is still the same index
_SAME_VALUE = {
    *("Cast", "Reshape", "Unsqueeze", "Squeeze", "Flatten", "Identity", "Transpose", "Expand"),
    *("Slice", "Concat", "Tile"),
}
# what a choice between an index and another is made by
_TRUTHS = {"Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal", "Not", "And", "Or"}
_INTEGERS = {onnx.TensorProto.INT32, onnx.TensorProto.INT64}


def index_limits(model: onnx.ModelProto) -> dict[str, int]:
    """For each integer input that picks rows of a constant table, the rows of the smallest one.

    An input that is made one-hot picks one of as many values as that is deep.

    Args:
        model: a graph with its constants.

    Returns:
        what a value of that input must be below, by the input's name.
    """
    graph = model.graph
    rows = _tables(graph)
    depths = {
        tensor.name: [int(numpy_helper.to_array(tensor).reshape(-1)[0])]
        for tensor in graph.initializer
        if math.prod(tensor.dims) == 1 and tensor.data_type in _INTEGERS
    }
    makers = {output: node for node in graph.node for output in node.output}
    users: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            users[name].append(node)
    found: dict[str, int] = {}
    for value in graph.input:
        if value.type.tensor_type.elem_type not in _INTEGERS:
            continue
        sizes = _sizes(value.name, users, makers, rows, depths)
        if sizes:
            found[value.name] = min(sizes)
    return found


def _tables(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    """The shapes of a graph's constants."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            for value in (a.t for a in node.attribute if a.name == "value"):
                shapes[node.output[0]] = tuple(value.dims)
        elif node.op_type in ("Identity", "Cast", "DequantizeLinear") and node.input[0] in shapes:
            shapes[node.output[0]] = shapes[node.input[0]]
    return shapes


def _sizes(
    name: str,
    users: dict[str, list[onnx.NodeProto]],
    makers: dict[str, onnx.NodeProto],
    rows: dict[str, tuple[int, ...]],
    depths: dict[str, list[int]],
) -> list[int]:
    """The rows of all tables that a value picks from, and depths of what it is made one-hot in."""
    found: list[int] = []
    waiting, seen = [name], {name}
    while waiting:
        current = waiting.pop()
        for node in users[current]:
            if node.op_type == "Gather" and len(node.input) > 1 and node.input[1] == current:
                axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
                shape = rows.get(node.input[0], ())
                found += [shape[axis]] if len(shape) > 1 else []
            elif node.op_type == "OneHot" and node.input[0] == current:
                found += depths.get(node.input[1], [])
            elif _is_kept(node, current, makers):
                fresh = [output for output in node.output if output not in seen]
                waiting += fresh
                seen |= set(fresh)
    return found


def _is_kept(node: onnx.NodeProto, name: str, makers: dict[str, onnx.NodeProto]) -> bool:
    """Whether an index comes out of a node as it was, or as another where it counts from the end.

    Keras counts negative indices from the end: a Where of both, or a sum of two products of which
    one is zero, as tf2onnx writes that.
    """
    others = [makers.get(one) for one in node.input if one != name]
    if node.op_type == "Where":
        return name in node.input[1:]
    if node.op_type == "Mul":
        return any(_is_choice(other, makers) for other in others)
    if node.op_type == "Add":
        return any(
            other is not None
            and other.op_type == "Mul"
            and any(_is_choice(makers.get(one), makers) for one in other.input)
            for other in others
        )
    return node.op_type in _SAME_VALUE


def _is_choice(node: onnx.NodeProto | None, makers: dict[str, onnx.NodeProto]) -> bool:
    """Whether a value is zero or one by a comparison."""
    if node is None or node.op_type != "Cast":
        return False
    made = makers.get(node.input[0])
    return made is not None and made.op_type in _TRUTHS
