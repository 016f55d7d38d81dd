"""LpNormalization as the norm along an axis and what is divided by it."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from toolchain.compile.operators.graph import Graph, attributes

OPERATORS = ("LpNormalization",)


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Replace it by x / (Σ|x|^p)^(1/p), p being 1 or 2; where the norm is 0, by 0."""
    said = attributes(node)
    kind = helper.tensor_dtype_to_np_dtype(graph.type(node.input[0]) or onnx.TensorProto.FLOAT)
    reduction = f"ReduceL{int(said.get('p', 2))}"
    norm = graph.over_axes(reduction, node.input[0], [int(said.get("axis", -1))], keepdims=1)
    none = graph.emit("Equal", [norm, graph.const(np.zeros((), kind))])
    divisor = graph.emit("Where", [none, graph.const(np.ones((), kind)), norm])
    graph.emit("Div", [node.input[0], divisor], output=node.output[0])
    return True
