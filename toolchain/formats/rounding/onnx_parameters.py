"""Quantisation parameters of an ONNX graph: refused by operator and tensor where they can't be any.

Those that the graph computes are not looked at, nor the lengths of blocks' scales.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from toolchain.core.errors import ModelError

# Where an operator has what is rounded (-1 for its output), its scale and its zero point; and the
# axis of a scale with one value a channel, None where lengths aren't compared.
Place = tuple[int, int, int, int | None]
UNARY: tuple[Place, ...] = ((0, 1, 2, None), (-1, 3, 4, None))
PLACES: Mapping[str, tuple[Place, ...]] = {
    "QLinearConv": ((0, 1, 2, None), (3, 4, 5, 0), (-1, 6, 7, None)),
    **dict.fromkeys(
        ("QLinearMatMul", "QLinearAdd", "QLinearMul"),
        ((0, 1, 2, None), (3, 4, 5, None), (-1, 6, 7, None)),
    ),
    "QGemm": ((0, 1, 2, None), (3, 4, 5, None)),
    **dict.fromkeys(
        (
            "QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax", "QLinearAveragePool",
            "QLinearGlobalAveragePool",
        ),
        UNARY,
    ),
}  # fmt: skip
PLACES_AT_MOST = 9  # of an operator's inputs
LINEAR = ("QuantizeLinear", "DequantizeLinear")  # the others take one zero point for all scales
AXIS = 1  # of QuantizeLinear and DequantizeLinear that do not say it


def check(model: onnx.ModelProto, file: str) -> None:
    """Refuse a graph with a quantisation parameter that can't be one.

    Args:
        model: with shapes inferred, where they can be.
        file: its name, for the error.

    Raises:
        ModelError: a scale is missing, zero or not finite, or has another length than its axis, or
            than its zero points; the error names operator, node and tensor.
    """
    graph = _Known(model.graph)
    for node in model.graph.node:
        for place in _places(node):
            why = _why(graph, node, place)
            if why:
                tensors = node.output if place[0] < 0 else node.input[max(place[0], 0) :]
                tensor, made = next(iter(tensors), "none"), next(iter(node.output), "")
                raise ModelError(
                    f"{file}: a quantisation parameter can't be used",
                    detail=f"operator {node.op_type}, node {node.name or made}, "
                    f"tensor {tensor}: {why}",
                    resolution="quantise the model again",
                )


class _Known:
    """What is known of a graph's values before it runs."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
                self._constants[node.output[0]] = node.attribute[0].t
        described = [*graph.value_info, *graph.input, *graph.output]
        self._types = {value.name: value.type.tensor_type for value in described}

    def value(self, name: str) -> npt.NDArray[Any] | None:
        """A constant's value; None for what is computed, or lies outside of the file."""
        tensor = self._constants.get(name)
        if tensor is None or tensor.data_location == TensorProto.EXTERNAL:
            return None
        value: npt.NDArray[Any] = numpy_helper.to_array(tensor)
        return value

    def size(self, name: str, axis: int) -> int | None:
        """The size of an axis; None where it isn't known, 0 where there is no such axis."""
        sizes: Sequence[int | None]
        if name in self._constants:
            sizes = list(self._constants[name].dims)
        else:
            kind = self._types.get(name)
            if kind is None or not kind.HasField("shape"):
                return None
            sizes = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]
        return sizes[axis] if -len(sizes) <= axis < len(sizes) else 0

    def is_bias(self, name: str) -> bool:
        """Whether it is of int32, whose steps may be smaller than a float32 can say."""
        tensor, kind = self._constants.get(name), self._types.get(name)
        element = tensor.data_type if tensor is not None else getattr(kind, "elem_type", 0)
        return bool(element == TensorProto.INT32)


def _places(node: onnx.NodeProto) -> tuple[Place, ...]:
    if node.op_type not in LINEAR:
        return PLACES.get(node.op_type, ())
    said = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    return ((0, 1, 2, None if said.get("block_size") else int(said.get("axis", AXIS))),)


def _why(graph: _Known, node: onnx.NodeProto, place: Place) -> str:
    """What can't be about a parameter; empty for nothing."""
    of, scale_at, zero_at, axis = place
    given = [*node.input, *[""] * PLACES_AT_MOST]
    name, scale, zero = given[scale_at], graph.value(given[scale_at]), graph.value(given[zero_at])
    if not name:
        return "its scale is missing"
    if scale is None:
        return ""
    numbers, why = scale.astype(np.float32), ""
    size = None if axis is None else graph.size(given[of], axis)
    one_zero = zero is not None and zero.size == 1 and node.op_type not in LINEAR
    if not scale.size:
        why = f"scale {name} is empty"
    elif not np.isfinite(numbers).all():
        why = f"scale {name} is not finite"
    elif not numbers.all() and not (of >= 0 and graph.is_bias(given[of])):
        why = f"scale {name} is zero"
    elif zero is not None and zero.size != scale.size and not one_zero:
        why = f"{scale.size} scales and {zero.size} zero points"
    elif scale.ndim == 1 and scale.size > 1 and size not in (None, scale.size):
        why = f"{scale.size} scales along axis {axis} of {size}"
    return why
