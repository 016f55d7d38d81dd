"""The variant float16 of a network that is an ONNX graph: weights kept in half the bytes.

Each larger constant is held as float16 and cast to float32 where it is used, so that the network
computes as before and its file has half the size. ONNX Runtime casts such constants once, as it
loads them.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import AttributeProto, NodeProto, TensorProto, helper, numpy_helper

from toolchain.core.errors import ModelError

# Elements of a constant from which on it counts, and below which it may be a size or a factor.
WORTH = 64
LARGEST = float(np.finfo(np.float16).max)
# What reads scales, which must stay as they are.
OF_SCALES = frozenset({"QuantizeLinear", "DequantizeLinear"})


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with its float32 weights as float16; inputs, outputs and arithmetic as they were.

    A constant with a value beyond float16's range, one that could be given as an input, and one
    that is an output or a scale stay as they are, as do those of branches and loops.

    Raises:
        ModelError: it has no weights of that kind.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    kept = {value.name for value in (*graph.input, *graph.output)}
    kept |= {name for node in graph.node if node.op_type in OF_SCALES for name in node.input[1:]}
    taken = kept | {name for node in graph.node for name in (*node.input, *node.output)}
    casts: list[NodeProto] = []

    def halve(tensor: TensorProto, name: str) -> str:
        """Make the tensor float16 and cast it to what has the name; its new name, or the same."""
        if name in kept or not _fits(tensor):
            return name
        half = f"{name}_float16"
        while half in taken:
            half += "_"
        taken.add(half)
        tensor.CopyFrom(
            numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), half)
        )
        casts.append(helper.make_node("Cast", [half], [name], to=TensorProto.FLOAT))
        return half

    for tensor in graph.initializer:
        halve(tensor, tensor.name)
    constants = [node for node in graph.node if node.op_type == "Constant"]
    others = [node for node in graph.node if node.op_type != "Constant"]
    for node in constants:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                node.output[0] = halve(attribute.t, node.output[0])
    if not casts:
        raise ModelError(
            "nothing of the network can be float16",
            detail=f"it holds no float32 constants of at least {WORTH} elements",
            resolution="leave this variant out",
        )
    nodes = [*constants, *casts, *others]
    del graph.node[:]
    graph.node.extend(nodes)
    return made


def _fits(tensor: TensorProto) -> bool:
    if tensor.data_type != TensorProto.FLOAT or int(np.prod(tensor.dims)) < WORTH:
        return False
    # a value that is none compares as false, and stays
    return bool((np.abs(numpy_helper.to_array(tensor)) <= LARGEST).all())
