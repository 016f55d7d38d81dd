"""Tile of a known shape, as a broadcast between two reshapes.

TVM's own loop takes each index modulo the input's size. LLVM 22 vectorises that wrongly for AVX-512
where a size is a power of two: of 2x3x4x5, repeated 7, 6, 4 and 2 times, three quarters of the
values came from beyond the input. A broadcast has no such index.
"""

from __future__ import annotations

import onnx

from toolchain.compile.operators.graph import Graph

OPERATORS = ("Tile",)

EXPAND = 8  # the first opset that has it


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Give each repeated axis an axis of its own before it, broadcast that, and join the two.

    Returns:
        whether it was replaced: not where shape or repeats are unknown, where nothing is there to
        repeat, nor in an opset that has no Expand.
    """
    shape, repeats = graph.shape(node.input[0]), graph.value(node.input[1])
    if graph.opset < EXPAND or shape is None or repeats is None or 0 in (*shape, *repeats):
        return False
    apart, wide, joined = [], [], []
    for size, times in zip(shape, repeats.tolist(), strict=True):
        apart += [size] if times == 1 else [1, size]
        wide += [size] if times == 1 else [times, size]
        joined.append(size * times)
    value = graph.emit("Reshape", [node.input[0], graph.ints(*apart)])
    value = graph.emit("Expand", [value, graph.ints(*wide)])
    graph.emit("Reshape", [value, graph.ints(*joined)], output=node.output[0])
    return True
