"""Pow whose exponent has another type than its base: TVM's wants one type."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from toolchain.compile.operators.graph import Graph

OPERATORS = ("Pow",)


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Compute it in one type, as NumPy does, and give the base's.

    Integers are raised in float64: TVM's own power of integers is none of integers.

    Returns:
        whether it was replaced: not where both are of one type of float.
    """
    base, exponent = (graph.type(name) for name in node.input)
    if not base or not exponent:
        return False
    kinds = [np.dtype(helper.tensor_dtype_to_np_dtype(kind)) for kind in (base, exponent)]
    whole = kinds[0].kind in "iu"
    if base == exponent and not whole:
        return False
    common = TensorProto.DOUBLE if whole else base
    given = [graph.emit("Cast", [name], to=common) for name in node.input]
    result = graph.emit("Pow", given, output="" if whole else node.output[0])
    if whole:
        rounded = graph.emit("Round", [result]) if kinds[1].kind in "iu" else result
        graph.emit("Cast", [rounded], to=base, output=node.output[0])
    return True
