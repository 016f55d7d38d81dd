"""SpaceToDepth in the order column, row, depth, which TVM's importer takes for the other one."""

from __future__ import annotations

import onnx

from toolchain.compile.operators.graph import Graph, attributes

OPERATORS = ("SpaceToDepth",)


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Replace it, in that order, by a transposition of its blocks.

    Returns:
        whether it was replaced: not in the other order, nor where the shape is unknown.
    """
    shape, said = graph.shape(node.input[0]), attributes(node)
    if shape is None or said.get("mode", "DCR") != "CRD":
        return False
    samples, depth, height, width = shape
    block = int(said["blocksize"])
    rows, columns = height // block, width // block
    form = graph.ints(samples, depth, rows, block, columns, block)
    blocks = graph.emit("Reshape", [node.input[0], form])
    turned = graph.emit("Transpose", [blocks], perm=[0, 1, 3, 5, 2, 4])
    form = graph.ints(samples, depth * block * block, rows, columns)
    graph.emit("Reshape", [turned, form], output=node.output[0])
    return True
