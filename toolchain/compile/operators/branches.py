"""If whose condition is known only as it runs: both branches are computed, and one is taken.

It is for what is left when nothing else changes a graph, since a condition may become known by
folding, and then one branch is enough.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from toolchain.compile.operators import control_flow, refusal
from toolchain.compile.operators.graph import Graph, attributes


def select(graph: Graph, node: onnx.NodeProto) -> bool:
    """Write both branches of an If beside the graph's nodes, and choose between what they give.

    Whether they give the same shapes may be seen only once they are folded: see `refuse_unequal`.

    Returns:
        whether it was replaced, as it always is.
    """
    said = attributes(node)
    then = control_flow.copied(graph, said["then_branch"], [])
    other = control_flow.copied(graph, said["else_branch"], [])
    scalar = graph.const(np.array([], np.int64), "no_axes")
    condition = graph.emit("Reshape", [node.input[0], scalar])
    for name, values in zip(node.output, zip(then, other, strict=True), strict=False):
        if name:
            graph.emit("Where", [condition, *values], output=name)
    return True


def refuse_unequal(graph: Graph, chosen: Mapping[str, onnx.NodeProto]) -> None:
    """Refuse an If whose branches give different shapes.

    Args:
        graph: as it is at last, with shapes inferred.
        chosen: the If that each value came from, by the value's name.

    Raises:
        ModelError: the shapes differ, or one can't be followed; the error names the If.
    """
    for node in graph.proto.node:
        origin = chosen.get(node.output[0])
        if origin is None or node.op_type != "Where":
            continue
        shapes = [graph.shape(name) for name in node.input[1:]]
        if None in shapes or shapes[0] != shapes[1]:
            found = " and ".join("unknown" if s is None else str(list(s)) for s in shapes)
            why = f"its condition {origin.input[0]} is known only as it runs"
            raise refusal.of(origin, f"{why}, and output {node.output[0]} has the shapes {found}")
