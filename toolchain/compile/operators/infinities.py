"""IsInf of one sign alone, which TVM's importer takes for both."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from toolchain.compile.operators.graph import Graph, attributes

OPERATORS = ("IsInf",)


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Compare with the infinity that is asked for.

    Returns:
        whether one sign alone is.
    """
    said = attributes(node)
    signs = [bool(said.get(f"detect_{sign}", 1)) for sign in ("negative", "positive")]
    if all(signs) or not graph.type(node.input[0]):
        return False
    kind = helper.tensor_dtype_to_np_dtype(graph.type(node.input[0]))
    # with neither sign, what is nowhere: NaN equals nothing
    wanted = np.inf if signs[1] else -np.inf if signs[0] else np.nan
    graph.emit("Equal", [node.input[0], graph.const(np.array(wanted, kind))], output=node.output[0])
    return True
