"""CumProd as products over all that comes before, for axes of known size."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from toolchain.compile.operators.graph import Graph, attributes

OPERATORS = ("CumProd",)
LONGEST = 1024  # the products of n values have n² factors


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Replace y[i] = x[0] · … · x[i] by a product over j of x[j] where j ≤ i, else 1.

    Returns:
        whether it was replaced: not where the shape or the axis is unknown.
    """
    shape, axis_value = graph.shape(node.input[0]), graph.value(node.input[1])
    if shape is None or axis_value is None:
        return False
    axis = int(axis_value.reshape(-1)[0]) % len(shape)
    size, said = shape[axis], attributes(node)
    if size > LONGEST:
        return False
    kind = helper.tensor_dtype_to_np_dtype(graph.type(node.input[0]))
    made, factor = np.arange(size)[:, None], np.arange(size)[None, :]
    if said.get("reverse", 0):
        inside = factor > made if said.get("exclusive", 0) else factor >= made
    else:
        inside = factor < made if said.get("exclusive", 0) else factor <= made
    form = [1] * axis + [size, size] + [1] * (len(shape) - axis - 1)
    mask = graph.const(inside.reshape(form), "inside")
    factors = graph.over_axes("Unsqueeze", node.input[0], [axis])
    chosen = graph.emit("Where", [mask, factors, graph.const(np.ones((), kind), "one")])
    graph.over_axes("ReduceProd", chosen, [axis + 1], output=node.output[0], keepdims=0)
    return True
