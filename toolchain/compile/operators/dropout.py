"""Dropout as it is in inference: nothing, and a mask that keeps everything."""

from __future__ import annotations

import numpy as np
import onnx

from toolchain.compile.operators.graph import Graph

OPERATORS = ("Dropout",)


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Replace a Dropout that does not train.

    Returns:
        whether it was replaced: not where it trains, or its mask has an unknown shape.
    """
    training = graph.value(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if len(node.input) > 2 and node.input[2] and (training is None or training.any()):
        return False
    mask = node.output[1] if len(node.output) > 1 else ""
    shape = graph.shape(node.input[0])
    if mask and shape is None:
        return False
    graph.emit("Identity", [node.input[0]], output=node.output[0])
    if mask:
        assert shape is not None
        of_input = onnx.helper.tensor_dtype_to_np_dtype(graph.type(node.input[0]))
        kind = np.dtype(bool) if graph.opset >= 10 else of_input
        graph.emit("Identity", [graph.const(np.ones(shape, kind), "mask")], output=mask)
    return True
