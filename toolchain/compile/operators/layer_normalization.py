"""LayerNormalization where TVM's own does not fit: a broadcast gamma, further outputs."""

from __future__ import annotations

import numpy as np
import onnx

from toolchain.compile.operators.graph import Graph, attributes

OPERATORS = ("LayerNormalization",)


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Replace it by the operators of ONNX's definition, version 17.

    Returns:
        whether it was replaced: not where TVM's own operator does the same, or shapes are unknown.
    """
    shape = graph.shape(node.input[0])
    if shape is None:
        return False
    said = attributes(node)
    axis = int(said.get("axis", -1)) % len(shape)
    weights = [name for name in node.input[1:] if name]
    outputs = [*node.output, "", ""][:3]
    if not any(outputs[1:]) and all(graph.shape(name) == shape[axis:] for name in weights):
        return False
    axes = list(range(axis, len(shape)))
    x = graph.emit("Cast", [node.input[0]], to=onnx.TensorProto.FLOAT)
    mean = graph.over_axes("ReduceMean", x, axes, output=outputs[1], keepdims=1)
    apart = graph.emit("Sub", [x, mean])
    variance = graph.over_axes("ReduceMean", graph.emit("Mul", [apart, apart]), axes, keepdims=1)
    epsilon = graph.const(np.array(said.get("epsilon", 1e-5), np.float32), "epsilon")
    deviation = graph.emit("Sqrt", [graph.emit("Add", [variance, epsilon])])
    inverse = graph.emit("Reciprocal", [deviation], output=outputs[2])
    normal = graph.emit("Mul", [apart, inverse])
    kind = graph.type(node.input[0])
    if kind != onnx.TensorProto.FLOAT:
        normal = graph.emit("Cast", [normal], to=kind)
    for operator, name in zip(("Mul", "Add"), node.input[1:], strict=False):
        if name:
            normal = graph.emit(operator, [normal, name])
    graph.emit("Identity", [normal], output=outputs[0])
    return True
