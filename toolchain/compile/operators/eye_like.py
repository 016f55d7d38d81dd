"""EyeLike of a known shape, which is a constant."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from toolchain.compile.operators.graph import Graph, attributes

OPERATORS = ("EyeLike",)


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Replace it.

    Returns:
        whether it was replaced: not where the shape is unknown.
    """
    shape, said = graph.shape(node.input[0]), attributes(node)
    if shape is None:
        return False
    kind = helper.tensor_dtype_to_np_dtype(int(said.get("dtype", graph.type(node.input[0]))))
    rows, columns = shape
    eye = np.eye(rows, columns, k=int(said.get("k", 0))).astype(kind)
    graph.emit("Identity", [graph.const(eye, "eye")], output=node.output[0])
    return True
