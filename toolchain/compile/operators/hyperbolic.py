"""Hyperbolic functions as exponentials, for which every target has code."""

from __future__ import annotations

import numpy as np
import onnx

from toolchain.compile.operators.graph import Graph

OPERATORS = ("Cosh", "Sinh")


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Replace sinh by (e^x - e^-x) / 2 and cosh by (e^x + e^-x) / 2.

    Near zero sinh loses what the difference cancels: at most one unit of e^0 in the last place,
    6e-8 in float32.
    """
    kind = onnx.helper.tensor_dtype_to_np_dtype(graph.type(node.input[0]) or onnx.TensorProto.FLOAT)
    up = graph.emit("Exp", [node.input[0]])
    down = graph.emit("Exp", [graph.emit("Neg", [node.input[0]])])
    both = graph.emit("Add" if node.op_type == "Cosh" else "Sub", [up, down])
    half = graph.const(np.array(0.5, kind), "half")
    graph.emit("Mul", [both, half], output=node.output[0])
    return True
