"""Concat and Split whose parts may have no elements, which TVM's have to have."""

from __future__ import annotations

import numpy as np
import onnx

from toolchain.compile.operators.graph import Graph, attributes

OPERATORS = ("Concat", "Split")


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Leave parts without elements out of a Concat; write a Split that has some as slices.

    Returns:
        whether there were such parts.
    """
    axis = int(attributes(node).get("axis", 0))
    if node.op_type == "Concat":
        left = [name for name in node.input if 0 not in (graph.shape(name) or ())]
        if not left or len(left) == len(node.input):
            return False
        graph.emit("Concat", left, axis=axis, output=node.output[0])
        return True
    shapes = [graph.shape(name) for name in node.output]
    if not any(shape is not None and 0 in shape for shape in shapes):
        return False
    begin = 0
    for name, shape in zip(node.output, shapes, strict=True):
        assert shape is not None, "a Split's parts are known together"
        size = shape[axis]
        if 0 in shape:
            kind = onnx.helper.tensor_dtype_to_np_dtype(graph.type(node.input[0]))
            graph.emit("Identity", [graph.const(np.zeros(shape, kind))], output=name)
        else:
            ends = [graph.ints(n) for n in (begin, begin + size, axis)]
            graph.emit("Slice", [node.input[0], *ends], output=name)
        begin += size
    return True
