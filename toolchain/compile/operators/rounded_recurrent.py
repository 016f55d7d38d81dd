"""ONNX Runtime's LSTM of 8-bit weights, as its quantiser of speech and text networks leaves it.

By the definition of com.microsoft.DynamicQuantizeLSTM: weights (directions, inputs, 4 * hidden) and
(directions, hidden, 4 * hidden) with a scale and a zero point for each direction or each column.
ONNX Runtime rounds what multiplies them to 8 bits too, by the range that it finds there in each
step; here that stays float32, which is nearer to what was trained.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from toolchain.compile.operators.graph import Array, Graph, attributes

OPERATORS = ("com.microsoft.DynamicQuantizeLSTM",)
_INPUTS = 12  # the operator's, of which the last four are scales and zero points


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Replace it by an LSTM of the weights that its integers stand for.

    Returns:
        whether it was replaced: not where weights or scales are computed as the graph runs.
    """
    names = [*node.input, *[""] * _INPUTS][:_INPUTS]
    x, w, r, *rest = names[:8]
    scales = names[8:]
    turned = []
    for weight, scale, zero in ((w, *scales[:2]), (r, *scales[2:])):
        real = _real(graph.value(weight), graph.value(scale), graph.value(zero))
        if real is None:
            return False
        turned.append(graph.const(real, "weights"))
    given = [x, *turned, *rest]
    while not given[-1]:
        given.pop()
    graph.made.append(
        helper.make_node("LSTM", given, list(node.output), name=node.name, **attributes(node))
    )
    return True


def _real(weight: Array | None, scale: Array | None, zero: Array | None) -> Array | None:
    """Weights as LSTM has them: float32 (directions, 4 * hidden, inputs)."""
    if weight is None or scale is None:
        return None
    directions = len(weight)
    offset = np.zeros(1, weight.dtype) if zero is None else zero
    each, start = (
        value.astype(np.float32).reshape(directions if value.size > 1 else 1, 1, -1)
        for value in (scale, offset)
    )
    real: Array = (weight.astype(np.float32) - start) * each
    return np.ascontiguousarray(real.transpose(0, 2, 1))
