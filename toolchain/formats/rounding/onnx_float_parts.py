"""Which operators of a rounded ONNX graph stay floating point: no integers in, or none out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import onnx

FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
MOVES = {"Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"}
# Sums of products that have an integer form, and those that have none.
PRODUCTS = {"Conv", "Gemm", "MatMul"}
OTHER_PRODUCTS = {"ConvTranspose", "LSTM", "GRU", "RNN", "Einsum"}
# One value at a time: computed with what it follows.
ACTIVATIONS = {
    "Clip", "Elu", "Erf", "HardSigmoid", "HardSwish", "LeakyRelu", "PRelu", "Relu", "Sigmoid",
    "Softplus", "Tanh",
}  # fmt: skip
ROUNDING = {"QuantizeLinear", "DynamicQuantizeLinear"}


def float_parts(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Nodes whose values are floats from one operator to the next, in the graph's order.

    These are products that don't multiply dequantised values by dequantised constants, and all
    else that gives floats which nothing rounds: the readers of each value of the others round it,
    at once or after activations.

    Args:
        model: of QuantizeLinear and DequantizeLinear, with the types of its values inferred.
    """
    return _Graph(model.graph).float_parts()


class _Graph:
    def __init__(self, graph: onnx.GraphProto) -> None:
        self.nodes = list(graph.node)
        self.makers = {name: node for node in graph.node for name in node.output}
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self.readers[name].append(node)
        described = [*graph.value_info, *graph.input, *graph.output]
        self.types = {value.name: value.type.tensor_type.elem_type for value in described}
        self.constants = {tensor.name for tensor in graph.initializer}
        self.constants |= {n.output[0] for n in graph.node if n.op_type == "Constant"}

    def float_parts(self) -> list[onnx.NodeProto]:
        return [node for node in self.nodes if self._is_float(node)]

    def _is_float(self, node: onnx.NodeProto) -> bool:
        if node.op_type in PRODUCTS:
            steps, weights = self._origin(node.input[0]), self._origin(node.input[1])
            return not (_dequantises(steps) and _dequantises(weights)) or not self._constant(
                weights.input if weights is not None else ()
            )
        if node.op_type in OTHER_PRODUCTS:
            return True
        if node.op_type in {*MOVES, *ROUNDING, "DequantizeLinear"} or self._constant(node.input):
            return False
        floats = [name for name in node.output if self.types.get(name) in FLOATS]
        return any(not self._is_rounded(name) for name in floats)

    def _origin(self, name: str) -> onnx.NodeProto | None:
        """What makes a value, behind what only moves it."""
        node = self.makers.get(name)
        while node is not None and node.op_type in MOVES:
            node = self.makers.get(node.input[0])
        return node

    def _constant(self, names: Iterable[str]) -> bool:
        return all(name in self.constants for name in names if name)

    def _is_rounded(self, name: str) -> bool:
        """Whether all that reads a value rounds it, or gives what is rounded then."""
        waiting, seen = [name], {name}
        while waiting:
            readers = self.readers[waiting.pop()]
            if not readers:
                return False
            for reader in readers:
                if reader.op_type in {*ACTIVATIONS, *MOVES}:
                    made = reader.output[0]
                    waiting += [] if made in seen else [made]
                    seen.add(made)
                elif reader.op_type not in ROUNDING:
                    return False
        return True


def _dequantises(node: onnx.NodeProto | None) -> bool:
    return node is not None and node.op_type == "DequantizeLinear"
