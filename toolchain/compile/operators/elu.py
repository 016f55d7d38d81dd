"""Elu of other types than float32, whose constants TVM's importer makes float32."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from toolchain.compile.operators.graph import Graph, attributes

OPERATORS = ("Elu",)


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Replace it by alpha * (exp(x) - 1) where x is negative.

    Returns:
        whether it was replaced: not for float32, nor where the type is unknown.
    """
    kind = graph.type(node.input[0])
    if kind in (0, TensorProto.FLOAT):
        return False
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    x, alpha = node.input[0], float(attributes(node).get("alpha", 1.0))
    zero, one, factor = (graph.const(np.array(n, dtype)) for n in (0, 1, alpha))
    grown = graph.emit("Sub", [graph.emit("Exp", [x]), one])
    below = graph.emit("Mul", [factor, grown])
    graph.emit("Where", [graph.emit("Less", [x, zero]), below, x], output=node.output[0])
    return True
