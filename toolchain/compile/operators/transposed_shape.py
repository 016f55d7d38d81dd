"""ConvTranspose whose output's shape is given, as one whose pads are."""

from __future__ import annotations

import onnx

from toolchain.compile.operators import refusal
from toolchain.compile.operators.graph import Graph, attributes

OPERATORS = ("ConvTranspose",)


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Say the pads that give the shape, by ONNX's definition, version 1.

    Returns:
        whether it has an `output_shape`.

    Raises:
        ModelError: a shape is not known, or the output is larger than strides can make it.
    """
    said = attributes(node)
    wanted = said.pop("output_shape", None)
    if not wanted:
        return False
    shape, weights = graph.shape(node.input[0]), graph.shape(node.input[1])
    if shape is None or weights is None:
        raise refusal.of(node, "with output_shape the shapes of its inputs must be known")
    rank = len(shape) - 2
    kernel, wanted = weights[2:], list(wanted)[-rank:]
    strides, dilations = (said.get(name) or [1] * rank for name in ("strides", "dilations"))
    more = list(said.pop("output_padding", None) or [0] * rank)
    upper = said.pop("auto_pad", "NOTSET") == "SAME_UPPER"
    begins, ends = [], []
    for axis in range(rank):
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        total = strides[axis] * (shape[2 + axis] - 1) + more[axis] + reach - wanted[axis]
        if total < 0:
            total, more[axis] = 0, more[axis] - total
        if more[axis] >= max(strides[axis], dilations[axis]):
            raise refusal.of(node, f"output_shape {wanted} is larger than its strides can make it")
        begins.append(total // 2 if upper else total - total // 2)
        ends.append(total - begins[-1])
    said |= {"pads": [*begins, *ends], "output_padding": more}
    graph.emit("ConvTranspose", list(node.input), output=node.output[0], **said)
    return True
