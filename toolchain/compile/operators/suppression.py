"""NonMaxSuppression with ONNX's thresholds: boxes that overlap by exactly as much stay.

TVM's importer takes limits that are computed for its own, no score for a score of 0, and drops a
box whose overlap is the threshold itself. It takes all boxes for chosen, too, so that whatever
reads the chosen ones is compiled for another shape than it is given: that is refused.
"""

from __future__ import annotations

import numpy as np
import onnx

from toolchain.compile.operators import refusal
from toolchain.compile.operators.graph import Graph

OPERATORS = ("NonMaxSuppression",)
LIMITS = ("max_output_boxes_per_class", "iou_threshold", "score_threshold")
DONE = "iou_above"  # the name of the threshold, so that it is raised once


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Say each of its limits, and the overlap that is the first to be too much.

    Raises:
        ModelError: a limit is computed, or another node reads what is chosen.
    """
    inputs = [*node.input, "", "", ""][:5]
    if inputs[3].startswith(DONE):
        return False
    limits = []
    for name, value in zip(LIMITS, inputs[2:], strict=True):
        known = graph.value(value) if value else np.zeros(())
        if known is None:
            raise refusal.of(node, f"its input {name} is computed; it must be a constant")
        limits.append(known.reshape(-1)[0])
    readers = [other for other in graph.proto.node if node.output[0] in other.input]
    if readers:
        why = (
            f"{readers[0].op_type} reads {node.output[0]}, whose size is known only as it runs; "
            "end the network before this node"
        )
        raise refusal.of(node, why)
    most, overlap = np.array([limits[0]], np.int64), np.float32(limits[1])
    score = np.float32(limits[2]) if inputs[4] else np.finfo(np.float32).min
    node.input[:] = [
        *inputs[:2],
        graph.const(most, "boxes"),
        graph.const(np.array([np.nextafter(overlap, np.float32(np.inf))]), DONE),
        graph.const(np.array([score], np.float32), "score"),
    ]
    graph.made.append(node)
    return True
