"""TensorScatter, which writes into a cache of keys or values, as a choice between old and new."""

from __future__ import annotations

import numpy as np
import onnx

from toolchain.compile.operators.graph import Graph, attributes

OPERATORS = ("TensorScatter",)


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Replace it: place t takes the update's t - start, where there is one, else what it held.

    Returns:
        whether it was replaced: not where shapes are unknown.
    """
    cache, update, starts = [*node.input, ""][:3]
    shape, of_update = graph.shape(cache), graph.shape(update)
    if shape is None or of_update is None:
        return False
    said, rank = attributes(node), len(shape)
    axis = int(said.get("axis", -2)) % rank
    size, new = shape[axis], of_update[axis]
    form = [1] * rank
    form[axis] = size
    source = graph.const(np.arange(size, dtype=np.int64).reshape(form), "places")
    if starts:
        by_sample = [shape[0]] + [1] * (rank - 1)
        start = graph.emit("Reshape", [starts, graph.ints(*by_sample)])
        start = graph.emit("Cast", [start], to=onnx.TensorProto.INT64)
        source = graph.emit("Sub", [source, start])
    zero, whole = (graph.const(np.array(n, np.int64)) for n in (0, size))
    if said.get("mode", "linear") == "circular":
        below = graph.emit("Less", [source, zero])
        source = graph.emit("Where", [below, graph.emit("Add", [source, whole]), source])
    last = graph.const(np.array(new - 1, np.int64))
    inside = graph.emit("Equal", [graph.emit("Clip", [source, zero, last]), source])
    safe = graph.emit("Where", [inside, source, zero])
    form = [shape[i] if i != axis else size for i in range(rank)]
    taken = graph.emit(
        "GatherElements", [update, graph.emit("Expand", [safe, graph.ints(*form)])], axis=axis
    )
    graph.emit("Where", [inside, taken, cache], output=node.output[0])
    return True
