"""TopK of a type that TVM has no order for, refused before it is imported."""

from __future__ import annotations

import onnx
from onnx import TensorProto

from toolchain.compile.operators import refusal
from toolchain.compile.operators.graph import Graph

OPERATORS = ("TopK",)
UNORDERED = {TensorProto.UINT64, TensorProto.UINT32, TensorProto.UINT16}


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Leave it as it is.

    Raises:
        ModelError: its input is of such a type.
    """
    kind = graph.type(node.input[0])
    if kind in UNORDERED:
        raise refusal.of(node, f"its input 0 is of {TensorProto.DataType.Name(kind)}")
    return False
