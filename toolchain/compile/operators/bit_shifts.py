"""BitShift by as many bits as there are, or more, or fewer than none.

A CPU's shift takes the last bits of such a number (RISC-V) or gives zero (x86-64's vectors), and
LLVM may give anything. ONNX has no bits left then, or those of the sign.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from toolchain.compile.operators.graph import Graph, attributes

OPERATORS = ("BitShift",)
DONE = "inside_shift"  # the name of a number of bits that is inside


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Keep a computed number of bits inside, and put zeros where it was not.

    Returns:
        whether it was replaced: not for constants that are inside, nor where the type is unknown.
    """
    x, bits = node.input
    kind, known = graph.type(x), graph.value(bits)
    if not kind or bits.startswith(DONE):
        return False
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind))
    width = dtype.itemsize * 8
    if known is not None and ((known >= 0) & (known < width)).all():
        return False
    zero, most = (graph.const(np.array(n, dtype)) for n in (0, width - 1))
    outside = graph.emit("Greater", [bits, most])
    if dtype.kind == "i":
        outside = graph.emit("Or", [outside, graph.emit("Less", [bits, zero])])
    inside = graph.emit("Where", [outside, most, bits], output=graph.fresh(DONE))
    said = attributes(node)
    if said["direction"] == "RIGHT" and dtype.kind == "i":
        graph.emit("BitShift", [x, inside], output=node.output[0], **said)
        return True
    shifted = graph.emit("BitShift", [x, inside], **said)
    graph.emit("Where", [outside, zero, shifted], output=node.output[0])
    return True
