"""Mod of floats that has its divisor's sign, by the remainder that has its dividend's.

TVM takes x - floor(x / y) * y, which is NaN where y is infinite.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from toolchain.compile.operators.graph import Graph, attributes

OPERATORS = ("Mod",)
FLOATS = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Replace it: the remainder of the other rule, and the divisor added where signs differ.

    Returns:
        whether it was replaced: not of integers, nor with C's rule (`fmod`).
    """
    kind = graph.type(node.input[0])
    if kind not in FLOATS or attributes(node).get("fmod", 0):
        return False
    x, y = node.input
    zero = graph.const(np.zeros((), helper.tensor_dtype_to_np_dtype(kind)), "zero")
    rest = graph.emit("Mod", [x, y], fmod=1)
    below = [graph.emit("Less", [value, zero]) for value in (rest, y)]
    above = [graph.emit("Greater", [value, zero]) for value in (rest, y)]
    apart = graph.emit(
        "Or", [graph.emit("And", [below[0], above[1]]), graph.emit("And", [above[0], below[1]])]
    )
    moved = graph.emit("Add", [rest, y])
    graph.emit("Where", [apart, moved, rest], output=node.output[0])
    return True
