"""Axes that stand in a constant of rank 0, where TVM's importer wants a list of them."""

from __future__ import annotations

import onnx

from toolchain.compile.operators.graph import Graph

OPERATORS = ("Squeeze", "Unsqueeze")


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Give the axes a rank of 1.

    Returns:
        whether it was needed.
    """
    axes = graph.value(node.input[1]) if len(node.input) > 1 and node.input[1] else None
    if axes is None or axes.ndim:
        return False
    graph.over_axes(node.op_type, node.input[0], [int(axes)], output=node.output[0])
    return True
