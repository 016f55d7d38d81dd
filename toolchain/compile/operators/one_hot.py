"""OneHot as a comparison of the index with each of the places."""

from __future__ import annotations

import numpy as np
import onnx

from toolchain.compile.operators.graph import Graph, attributes

OPERATORS = ("OneHot",)


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Replace it, for a known depth; an index outside of [-depth, depth) is on nowhere.

    Returns:
        whether it was replaced.
    """
    indices, depth_input, values = node.input
    depth_value, shape = graph.value(depth_input), graph.shape(indices)
    if depth_value is None or shape is None:
        return False
    depth, rank = int(depth_value.reshape(-1)[0]), len(shape)
    axis = int(attributes(node).get("axis", -1)) % (rank + 1)
    index = graph.emit("Cast", [indices], to=onnx.TensorProto.INT64)
    zero, size = (graph.const(np.array(n, np.int64)) for n in (0, depth))
    below = graph.emit("Less", [index, zero])
    index = graph.emit("Where", [below, graph.emit("Add", [index, size]), index])
    places = np.arange(depth, dtype=np.int64).reshape([-1] + [1] * (rank - axis))
    column = graph.over_axes("Unsqueeze", index, [axis])
    hot = graph.emit("Equal", [column, graph.const(places, "places")])
    off, on = (graph.emit("Gather", [values, graph.const(np.array(n))], axis=0) for n in (0, 1))
    graph.emit("Where", [hot, on, off], output=node.output[0])
    return True
