"""Det of small matrices, by expansion along the first row."""

from __future__ import annotations

import numpy as np
import onnx

from toolchain.compile.operators.graph import Graph

OPERATORS = ("Det",)
LARGEST = 4  # rows; an expansion has n! products


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Replace it, for matrices of up to LARGEST rows.

    Returns:
        whether it was replaced.
    """
    shape = graph.shape(node.input[0])
    if shape is None or shape[-1] > LARGEST:
        return False
    size = shape[-1]
    rows = [_taken(graph, node.input[0], row, -2 % len(shape)) for row in range(size)]
    cells = [[_taken(graph, row, n, len(shape) - 2) for n in range(size)] for row in rows]
    graph.emit("Identity", [_expanded(graph, cells)], output=node.output[0])
    return True


def _expanded(graph: Graph, cells: list[list[str]]) -> str:
    if len(cells) == 1:
        return cells[0][0]
    total = ""
    for n, cell in enumerate(cells[0]):
        minor = _expanded(graph, [row[:n] + row[n + 1 :] for row in cells[1:]])
        product = graph.emit("Mul", [cell, minor])
        sign = "Sub" if n % 2 else "Add"
        total = graph.emit(sign, [total, product]) if total else product
    return total


def _taken(graph: Graph, value: str, index: int, axis: int) -> str:
    return graph.emit("Gather", [value, graph.const(np.array(index, np.int64))], axis=axis)
