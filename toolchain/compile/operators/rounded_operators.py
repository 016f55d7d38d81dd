"""ONNX Runtime's operators over rounded values as what they stand for: Q and DQ around ONNX's own.

By the definitions of its ContribOperators.md: each takes steps with their scale and zero point, and
gives steps of a scale of its own. ONNX Runtime's quantiser writes them where it is asked for
QOperator, not QDQ. A zero point that is left out is 0, of the type that the inputs are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import helper

from toolchain.compile.operators.graph import Graph, attributes

# By the name without its domain, the operator over real numbers and how many inputs it has.
ALIKE = {
    "QLinearAdd": ("Add", 2),
    "QLinearMul": ("Mul", 2),
    "QLinearLeakyRelu": ("LeakyRelu", 1),
    "QLinearSigmoid": ("Sigmoid", 1),
    "QLinearAveragePool": ("AveragePool", 1),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", 1),
}
ONE_AXIS = 13  # since this opset a softmax is over one axis, not all from one on


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Replace an operator; whether it was."""
    if attributes(node).get("channels_last"):
        return False
    if not graph.type(node.input[STEPS_AT.get(node.op_type, 0)]):
        return False  # it is known once what makes it was replaced
    if node.op_type in ALIKE:
        return _alike(graph, node)
    return OTHERS[node.op_type](graph, node)


def _alike(graph: Graph, node: onnx.NodeProto) -> bool:
    kind, count = ALIKE[node.op_type]
    said = {k: v for k, v in attributes(node).items() if k != "channels_last"}
    given = [_real(graph, node.input[3 * n : 3 * n + 3]) for n in range(count)]
    _rounded(graph, node, graph.emit(kind, given, **said), node.input[3 * count :])
    return True


def _concat(graph: Graph, node: onnx.NodeProto) -> bool:
    scale, zero, *parts = node.input
    given = [_real(graph, part) for part in zip(*[iter(parts)] * 3, strict=True)]
    whole = graph.emit("Concat", given, axis=attributes(node)["axis"])
    _rounded(graph, node, whole, (scale, zero))
    return True


def _softmax(graph: Graph, node: onnx.NodeProto) -> bool:
    said, shape = attributes(node), graph.shape(node.input[0])
    if shape is None:
        return False
    axis, real = int(said.get("axis", -1)), _real(graph, node.input[:3])
    if said["opset"] >= ONE_AXIS or axis % len(shape) == len(shape) - 1:
        shares = graph.emit("Softmax", [real], axis=axis)
    else:
        rows = graph.emit("Softmax", [graph.emit("Flatten", [real], axis=axis)], axis=-1)
        shares = graph.emit("Reshape", [rows, graph.ints(*shape)])
    _rounded(graph, node, shares, node.input[3:])
    return True


def _mean(graph: Graph, node: onnx.NodeProto) -> bool:
    said, shape = attributes(node), graph.shape(node.input[0])
    if shape is None:
        return False
    axes, real = said.get("axes", list(range(len(shape)))), _real(graph, node.input[:3])
    mean = graph.over_axes("ReduceMean", real, axes, keepdims=int(said.get("keepdims", 1)))
    _rounded(graph, node, mean, node.input[3:])
    return True


def _where(graph: Graph, node: onnx.NodeProto) -> bool:
    condition, *rest = node.input
    chosen = [condition, _real(graph, rest[:3]), _real(graph, rest[3:6])]
    _rounded(graph, node, graph.emit("Where", chosen), rest[6:])
    return True


def _matrix_product(graph: Graph, node: onnx.NodeProto) -> bool:
    """QGemm: its bias is int32, in steps of alpha times both scales; floats without a scale."""
    a, a_scale, a_zero, b, b_scale, b_zero, c, *to = [*node.input, "", "", ""][:9]
    said = attributes(node)
    columns = 0 if said.get("transB") else 1
    each = len(graph.shape(b_scale) or ()) == 1 and graph.shape(b_scale) != (1,)
    given = [
        _real(graph, (a, a_scale, a_zero)),
        _real(graph, (b, b_scale, b_zero), columns if each else None),
    ]
    if c:
        step = graph.emit("Mul", [a_scale, b_scale])
        wide = graph.emit("Cast", [c], to=onnx.TensorProto.FLOAT)
        given.append(graph.emit("Mul", [wide, step]))
        said["beta"] = float(said.get("alpha", 1.0))
    if not any(to):
        graph.emit("Gemm", given, output=node.output[0], **said)
        return True
    _rounded(graph, node, graph.emit("Gemm", given, **said), to)
    return True


OTHERS: dict[str, Callable[[Graph, onnx.NodeProto], bool]] = {
    "QLinearConcat": _concat,
    "QLinearSoftmax": _softmax,
    "QLinearReduceMean": _mean,
    "QLinearWhere": _where,
    "QGemm": _matrix_product,
}
# Where an operator has its first steps, if not at first.
STEPS_AT = {"QLinearConcat": 2, "QLinearWhere": 1}
OPERATORS = tuple(f"com.microsoft.{name}" for name in (*ALIKE, *OTHERS))


def _real(graph: Graph, given: Sequence[str], axis: int | None = None) -> str:
    """Steps, their scale and their zero point, if it isn't left out, as numbers."""
    return graph.emit("DequantizeLinear", [one for one in given if one], axis=axis)


def _rounded(graph: Graph, node: onnx.NodeProto, value: str, to: Sequence[str]) -> None:
    """A value as the steps that a node gives."""
    scale, zero = [*to, ""][:2]
    if not zero:
        kind = graph.type(node.input[STEPS_AT.get(node.op_type, 0)])
        shape = graph.shape(scale) or ()
        zero = graph.const(np.zeros(shape, helper.tensor_dtype_to_np_dtype(kind)), "zero")
    graph.emit("QuantizeLinear", [value, scale, zero], output=node.output[0])
