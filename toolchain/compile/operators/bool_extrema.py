"""ReduceMax and ReduceMin of bools, for which TVM has no limits to begin at."""

from __future__ import annotations

import onnx
from onnx import TensorProto

from toolchain.compile.operators.graph import Graph, attributes

OPERATORS = ("ReduceMax", "ReduceMin")


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Reduce bools as int32.

    Returns:
        whether they are bools.
    """
    if graph.type(node.input[0]) != TensorProto.BOOL:
        return False
    wide = graph.emit("Cast", [node.input[0]], to=TensorProto.INT32)
    result = graph.emit(node.op_type, [wide, *node.input[1:]], **attributes(node))
    graph.emit("Cast", [result], to=TensorProto.BOOL, output=node.output[0])
    return True
