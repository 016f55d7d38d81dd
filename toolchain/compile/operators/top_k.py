"""TopK of integers that TVM can't sort, as wider ones."""

from __future__ import annotations

import onnx
from onnx import TensorProto

from toolchain.compile.operators import refusal
from toolchain.compile.operators.graph import Graph, attributes

OPERATORS = ("TopK",)
WIDER = {
    TensorProto.INT16: TensorProto.INT32,
    TensorProto.UINT16: TensorProto.INT32,
    TensorProto.UINT32: TensorProto.INT64,
}


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Replace it by one of a wider type.

    Returns:
        whether it was replaced: not where TVM has an order for the type.

    Raises:
        ModelError: there is no wider one.
    """
    kind = graph.type(node.input[0])
    if kind == TensorProto.UINT64:
        raise refusal.of(node, "its input 0 is of UINT64")
    if kind not in WIDER:
        return False
    wide = graph.emit("Cast", [node.input[0]], to=WIDER[kind])
    values, places = graph.fresh("values"), node.output[1] or graph.fresh("places")
    sorted_ = onnx.helper.make_node(
        "TopK", [wide, node.input[1]], [values, places], **attributes(node)
    )
    graph.made.append(sorted_)
    graph.emit("Cast", [values], to=kind, output=node.output[0] or graph.fresh("unread"))
    return True
