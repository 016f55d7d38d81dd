"""ReverseSequence as a gather along the axis of time."""

from __future__ import annotations

import numpy as np
import onnx

from toolchain.compile.operators.graph import Graph, attributes

OPERATORS = ("ReverseSequence",)


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Replace it: step t of a sample of length n is its step n - 1 - t, after its end t.

    Returns:
        whether it was replaced: not where the shape is unknown.
    """
    shape, said = graph.shape(node.input[0]), attributes(node)
    if shape is None:
        return False
    time, batch = int(said.get("time_axis", 0)), int(said.get("batch_axis", 1))
    form = [1] * len(shape)
    form[time] = shape[time]
    steps = graph.const(np.arange(shape[time], dtype=np.int64).reshape(form), "steps")
    form = [1] * len(shape)
    form[batch] = shape[batch]
    ends = graph.emit("Reshape", [node.input[1], graph.ints(*form)])
    ends = graph.emit("Cast", [ends], to=onnx.TensorProto.INT64)
    last = graph.emit("Sub", [ends, graph.const(np.array(1, np.int64))])
    inside = graph.emit("Less", [steps, ends])
    source = graph.emit("Where", [inside, graph.emit("Sub", [last, steps]), steps])
    places = graph.emit("Expand", [source, graph.ints(*shape)])
    graph.emit("GatherElements", [node.input[0], places], axis=time, output=node.output[0])
    return True
