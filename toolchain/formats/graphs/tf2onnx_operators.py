"""Operators that tf2onnx 1.17 takes wrongly or not at all, as ONNX says them.

Its FloorDiv and FloorMod of integers round to zero (-5 // 2 came out as -2 and -5 % 2 as -1), its
MatrixDiag has shapes that contradict each other, and it lacks MatrixSetDiag. What it doesn't know
of TensorFlow Lite's it leaves in the graph by their names there: GELU and RELU_N1_TO_1 are written
out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE}


def _floor_mod(graph: Any, node: Any, name: str, arguments: Sequence[Any]) -> None:
    """The remainder with the divisor's sign: x - floor(x / y) * y, for integers ONNX's Mod."""
    del arguments
    x, y = node.input
    if graph.get_dtype(x) not in FLOATS:
        _replace(graph, node, name, "Mod", (x, y))
        return
    whole = graph.make_node("Floor", graph.make_node("Div", (x, y)).output)
    product = graph.make_node("Mul", (whole.output[0], y))
    _replace(graph, node, name, "Sub", (x, product.output[0]))


def _floor_div(graph: Any, node: Any, name: str, arguments: Sequence[Any]) -> None:
    """The quotient rounded down: of integers (x - x mod y) / y, which leaves nothing to round."""
    del arguments
    x, y = node.input
    if graph.get_dtype(x) in FLOATS:
        _replace(graph, node, name, "Floor", graph.make_node("Div", (x, y)).output)
        return
    rest = graph.make_node("Mod", (x, y))
    whole = graph.make_node("Sub", (x, rest.output[0]))
    _replace(graph, node, name, "Div", (whole.output[0], y))


def _matrix_diag(graph: Any, node: Any, name: str, arguments: Sequence[Any]) -> None:
    """Rows as the diagonals of squares of zeros."""
    del arguments
    (x,) = node.input
    size = graph.get_shape(x)[-1]
    zero = graph.make_const(name + "/zero", np.zeros((), _numpy_type(graph, x))).output[0]
    _replace(graph, node, name, "Where", (_eye(graph, name, size), _column(graph, x), zero))


def _matrix_set_diag(graph: Any, node: Any, name: str, arguments: Sequence[Any]) -> None:
    """Squares with other diagonals; others stay, and are refused by name."""
    del arguments
    x, diagonal = node.input
    rows, columns = graph.get_shape(x)[-2:]
    if rows == columns:
        _replace(graph, node, name, "Where", (_eye(graph, name, rows), _column(graph, diagonal), x))


def _eye(graph: Any, name: str, size: int) -> str:
    return str(graph.make_const(name + "/eye", np.eye(size, dtype=bool)).output[0])


def _column(graph: Any, x: str) -> str:
    axes = graph.make_const(x + "/last_axis", np.array([-1], np.int64)).output[0]
    return str(graph.make_node("Unsqueeze", (x, axes)).output[0])


def _numpy_type(graph: Any, x: str) -> Any:
    return helper.tensor_dtype_to_np_dtype(graph.get_dtype(x))


def _replace(
    graph: Any, node: Any, name: str, operator: str, inputs: Sequence[str], **said: int
) -> None:
    """Put another operator in a node's place, under its name and that of its output."""
    outputs, shapes, types = node.output, node.output_shapes, node.output_dtypes
    graph.remove_node(name)
    graph.make_node(operator, inputs, said, outputs=outputs, name=name, shapes=shapes, dtypes=types)


HANDLERS: dict[str, tuple[Any, list[Any]]] = {
    "FloorDiv": (_floor_div, []),
    "FloorMod": (_floor_mod, []),
    "MatrixDiag": (_matrix_diag, []),
    "MatrixSetDiag": (_matrix_set_diag, []),
}


def write_out(model: onnx.ModelProto) -> None:
    """Replace, in place, the operators that tf2onnx left as TensorFlow Lite's and ONNX can say."""
    kept: list[onnx.NodeProto] = []
    for node in model.graph.node:
        rule = _LEFT.get(node.op_type)
        kept += [node] if rule is None else rule(model.graph, node)
    del model.graph.node[:]
    model.graph.node.extend(kept)


def _gelu(graph: onnx.GraphProto, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """As x / 2 (1 + erf(x / sqrt 2)), or by tanh(sqrt(2 / pi) (x + 0.044715 x^3)).

    Both are of Hendrycks and Gimpel, Gaussian Error Linear Units, 2016.
    """
    made = _Chain(graph, node.output[0])
    (x,) = node.input
    if any(a.name == "approximate" and a.i for a in node.attribute):
        cube = made.add("Mul", made.add("Mul", x, x), x)
        inner = made.add("Add", x, made.add("Mul", cube, made.number(0.044715)))
        share = made.add("Tanh", made.add("Mul", inner, made.number(math.sqrt(2 / math.pi))))
    else:
        share = made.add("Erf", made.add("Mul", x, made.number(math.sqrt(0.5))))
    half = made.add("Mul", x, made.number(0.5))
    made.add("Mul", half, made.add("Add", share, made.number(1)), output=node.output[0])
    return made.nodes


def _relu_n1_to_1(graph: onnx.GraphProto, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    made = _Chain(graph, node.output[0])
    limits = made.number(-1), made.number(1)
    made.add("Clip", node.input[0], *limits, output=node.output[0])
    return made.nodes


class _Chain:
    """Nodes and constants of a graph whose names begin with that of what they make."""

    def __init__(self, graph: onnx.GraphProto, name: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._graph, self._name = graph, name

    def number(self, value: float) -> str:
        name = f"{self._name}/number{len(self._graph.initializer)}"
        self._graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
        return name

    def add(self, operator: str, *inputs: str, output: str = "") -> str:
        name = output or f"{self._name}/{operator}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name))
        return name


_LEFT = {"TFL_GELU": _gelu, "TFL_RELU_N1_TO_1": _relu_n1_to_1}
