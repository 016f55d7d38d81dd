"""QuantizeLinear and DequantizeLinear with a scale for each block of values, by arithmetic."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from toolchain.compile.operators.graph import Graph, attributes

OPERATORS = ("DequantizeLinear", "QuantizeLinear")


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Replace one that has a `block_size`.

    Returns:
        whether it was replaced: not without blocks, or where the shape is unknown.
    """
    said, shape = attributes(node), graph.shape(node.input[0])
    block = int(said.get("block_size", 0))
    if not block or shape is None:
        return False
    axis = int(said.get("axis", 1)) % len(shape)
    value, scale, zero = [*node.input, ""][:3]
    repeats = np.arange(shape[axis]) // block
    scale = graph.emit("Gather", [scale, graph.const(repeats)], axis=axis)
    if zero:
        zero = graph.emit("Gather", [zero, graph.const(repeats)], axis=axis)
        wide = graph.emit("Cast", [zero], to=TensorProto.FLOAT)
    if node.op_type == "DequantizeLinear":
        result = graph.emit("Cast", [value], to=TensorProto.FLOAT)
        result = graph.emit("Sub", [result, wide]) if zero else result
        kind = int(said.get("output_dtype", 0)) or graph.type(node.input[1])
        scale = graph.emit("Cast", [scale], to=TensorProto.FLOAT)
        result = graph.emit("Mul", [result, scale])
        graph.emit("Cast", [result], to=kind, output=node.output[0])
        return True
    kind = graph.type(zero or node.output[0]) or int(said.get("output_dtype", 0))
    if node.input[2:] and node.input[2]:
        kind = graph.type(node.input[2])
    limits = np.iinfo(helper.tensor_dtype_to_np_dtype(kind))
    rounded = graph.emit("Round", [graph.emit("Div", [value, scale])])
    rounded = graph.emit("Cast", [rounded], to=TensorProto.FLOAT)
    moved = graph.emit("Add", [rounded, wide]) if zero else rounded
    least, most = (graph.const(np.array(n, np.float32)) for n in (limits.min, limits.max))
    inside = graph.emit("Clip", [moved, least, most])
    graph.emit("Cast", [inside], to=kind, output=node.output[0])
    return True
