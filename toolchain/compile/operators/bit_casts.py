"""BitCast between integers of one width, which is a Cast that wraps; others are refused."""

from __future__ import annotations

import onnx
from onnx import TensorProto

from toolchain.compile.operators import refusal
from toolchain.compile.operators.graph import Graph, attributes

OPERATORS = ("BitCast",)
WHOLE = {
    TensorProto.BOOL, TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64,
    TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64,
}  # fmt: skip


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Replace it.

    Raises:
        ModelError: one of the types is no integer.
    """
    kind, made = graph.type(node.input[0]), int(attributes(node)["to"])
    if kind not in WHOLE or made not in WHOLE:
        names = [TensorProto.DataType.Name(of) for of in (kind, made)]
        raise refusal.of(node, f"from {names[0]}, with attribute to = {names[1]}")
    graph.emit("Cast", [node.input[0]], to=made, output=node.output[0])
    return True
