"""Products of integers: those that give int32 in int32, those that give int8 between Q and DQ."""

from __future__ import annotations

import numpy as np
import onnx

from toolchain.compile.operators.graph import Graph, attributes

OPERATORS = ("ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul")


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Replace a product of integers.

    ConvInteger and MatMulInteger by Conv and MatMul of int32, zero points taken off before.
    QLinearConv and QLinearMatMul by the same in float32 on dequantised values, quantised after: the
    form that exporters of Q and DQ write, and our passes make integers of again.
    """
    if node.op_type in ("ConvInteger", "MatMulInteger"):
        return _integer(graph, node)
    return _convolution(graph, node) if node.op_type == "QLinearConv" else _product(graph, node)


def _integer(graph: Graph, node: onnx.NodeProto) -> bool:
    x, w, x_zero, w_zero = [*node.input, "", ""][:4]
    kind, said = ("Conv", attributes(node)) if node.op_type == "ConvInteger" else ("MatMul", {})
    rank = len(graph.shape(w) or ()) or 2
    per_output = 0 if kind == "Conv" else None
    factors = [_centred(graph, x, x_zero, None, 0), _centred(graph, w, w_zero, per_output, rank)]
    graph.emit(kind, factors, output=node.output[0], **said)
    return True


def _centred(graph: Graph, value: str, zero: str, axis: int | None = None, rank: int = 0) -> str:
    """A value in int32 without its zero point."""
    wide = graph.emit("Cast", [value], to=onnx.TensorProto.INT32)
    if not zero:
        return wide
    offset = graph.emit("Cast", [zero], to=onnx.TensorProto.INT32)
    shape = graph.shape(zero)
    if axis is not None and shape is not None and len(shape) == 1 and shape[0] > 1:
        form = [-1 if i == axis else 1 for i in range(rank)]
        offset = graph.emit("Reshape", [offset, graph.ints(*form)])
    return graph.emit("Sub", [wide, offset])


def _convolution(graph: Graph, node: onnx.NodeProto) -> bool:
    x, xs, xz, w, ws, wz, ys, yz, bias = [*node.input, ""][:9]
    image = graph.emit("DequantizeLinear", [x, xs, xz])
    each = len(graph.shape(ws) or ()) == 1 and graph.opset >= 13
    weights = graph.emit("DequantizeLinear", [w, ws, wz], axis=0 if each else None)
    inputs = [image, weights]
    if bias:
        wide = graph.emit("Cast", [bias], to=onnx.TensorProto.FLOAT)
        inputs.append(graph.emit("Mul", [wide, graph.emit("Mul", [xs, ws])]))
    result = graph.emit("Conv", inputs, **attributes(node))
    graph.emit("QuantizeLinear", [result, ys, yz], output=node.output[0])
    return True


def _product(graph: Graph, node: onnx.NodeProto) -> bool:
    a, a_scale, a_zero, b, b_scale, b_zero, scale, zero = node.input
    single = all(np.prod(graph.shape(s) or (0,)) == 1 for s in (a_scale, b_scale, scale))
    if graph.type(a_scale) == onnx.TensorProto.FLOAT16 and single:
        return _product_by_half(graph, node)
    left = _dequantised(graph, a, a_scale, a_zero)
    right = _dequantised(graph, b, b_scale, b_zero)
    result = graph.emit("MatMul", [left, right])
    kind = graph.type(a_scale)
    if kind not in (0, onnx.TensorProto.FLOAT):
        result = graph.emit("Cast", [result], to=onnx.TensorProto.FLOAT)
        scale = graph.emit("Cast", [scale], to=onnx.TensorProto.FLOAT)
    graph.emit("QuantizeLinear", [result, scale, zero], output=node.output[0])
    return True


def _product_by_half(graph: Graph, node: onnx.NodeProto) -> bool:
    """A product of int32 times the three scales, multiplied in float16: nothing else rounds."""
    a, a_scale, a_zero, b, b_scale, b_zero, scale, zero = node.input
    whole = graph.emit("MatMul", [_centred(graph, a, a_zero), _centred(graph, b, b_zero)])
    factor = graph.emit("Div", [graph.emit("Mul", [a_scale, b_scale]), scale])
    wide = [graph.emit("Cast", [n], to=onnx.TensorProto.FLOAT) for n in (whole, factor)]
    result = graph.emit("Round", [graph.emit("Mul", wide)])
    kind = graph.type(zero)
    offset = graph.emit("Cast", [zero], to=onnx.TensorProto.FLOAT)
    limits = np.iinfo(onnx.helper.tensor_dtype_to_np_dtype(kind))
    ends = [graph.const(np.array(n, np.float32)) for n in (limits.min, limits.max)]
    result = graph.emit("Clip", [graph.emit("Add", [result, offset]), *ends])
    graph.emit("Cast", [result], to=kind, output=node.output[0])
    return True


def _dequantised(graph: Graph, value: str, scale: str, zero: str) -> str:
    if len(graph.shape(scale) or ()) == 0 or np.prod(graph.shape(scale) or (1,)) == 1:
        return graph.emit("DequantizeLinear", [value, scale, zero])
    wide = graph.emit("Cast", [value], to=onnx.TensorProto.FLOAT)
    offset = graph.emit("Cast", [zero], to=onnx.TensorProto.FLOAT)
    return graph.emit("Mul", [graph.emit("Sub", [wide, offset]), scale])
