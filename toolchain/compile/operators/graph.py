"""An ONNX graph that rules change: what is known of each value, and nodes made beside it.

It knows nothing of TVM and of any one operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

Array = npt.NDArray[Any]
# Operators whose axes are an input since this opset, and an attribute before.
AXES_AS_INPUT = {"ReduceSum": 13, "Squeeze": 13, "Unsqueeze": 13}
AXES_AS_INPUT_OTHERS = 18  # the other reductions


class Graph:
    """A graph, its constants and shapes by name, and the nodes that replace one.

    Attributes:
        proto: the graph that is changed.
        opset: version of ONNX's own operators.
        constants: initializers and Constant nodes by name.
        names: those that are taken; a graph shares them with those inside of it.
    """

    def __init__(self, model: onnx.ModelProto, names: set[str] | None = None) -> None:
        self.proto = model.graph
        self.opset = opset(model)
        self.constants: dict[str, onnx.TensorProto] = {t.name: t for t in self.proto.initializer}
        self.values: dict[str, onnx.TypeProto.Tensor] = {
            v.name: v.type.tensor_type
            for v in [*self.proto.value_info, *self.proto.input, *self.proto.output]
        }
        for node in self.proto.node:
            if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
                self.know(node)
        self.made: list[onnx.NodeProto] = []
        self._count = 0
        self.names = set[str]() if names is None else names
        self.names |= {name for node in self.proto.node for name in node.output}
        self.names |= set(self.values) | set(self.constants)

    def know(self, node: onnx.NodeProto) -> None:
        """Take what a Constant node holds as a constant."""
        tensor = constant_of(node)
        if tensor is not None:
            self.constants[node.output[0]] = tensor

    def value(self, name: str) -> Array | None:
        """What a constant holds; None for what is computed and for an input left out."""
        tensor = self.constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of a value when all of it is known."""
        if name in self.constants:
            return tuple(self.constants[name].dims)
        tensor = self.values.get(name)
        if tensor is None or not tensor.HasField("shape"):
            return None
        sizes = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
        known = tuple(size for size in sizes if size is not None)
        return known if len(known) == len(sizes) else None

    def type(self, name: str) -> int:
        """The element type of a value, as TensorProto has it; 0 when it is not known."""
        if name in self.constants:
            return int(self.constants[name].data_type)
        tensor = self.values.get(name)
        return int(tensor.elem_type) if tensor is not None else 0

    def fresh(self, hint: str) -> str:
        """A name that no value has."""
        while True:
            self._count += 1
            name = f"{hint}__{self._count}"
            if name not in self.names:
                self.names.add(name)
                return name

    def const(self, value: Array, hint: str = "constant") -> str:
        """The name of a new constant."""
        name = self.fresh(hint)
        tensor = numpy_helper.from_array(np.asarray(value), name)
        self.proto.initializer.append(tensor)
        self.constants[name] = tensor
        return name

    def emit(
        self, operator: str, inputs: Sequence[str], *, output: str = "", **attributes: Any
    ) -> str:
        """Add a node of one output; returns its name."""
        name = output or self.fresh(operator.lower())
        given = {key: value for key, value in attributes.items() if value is not None}
        node = helper.make_node(operator, list(inputs), [name], name=self.fresh("node"), **given)
        self.made.append(node)
        return name

    def over_axes(
        self, operator: str, value: str, axes: Sequence[int], *, output: str = "", **attributes: Any
    ) -> str:
        """Add a reduction, Squeeze or Unsqueeze over axes, as this opset writes it."""
        if self.opset >= AXES_AS_INPUT.get(operator, AXES_AS_INPUT_OTHERS):
            given = self.const(np.array(axes, np.int64), "axes")
            return self.emit(operator, [value, given], output=output, **attributes)
        return self.emit(operator, [value], output=output, axes=list(axes), **attributes)

    def ints(self, *values: int) -> str:
        """The name of a new constant of int64, of rank 1."""
        return self.const(np.array(values, np.int64), "ints")


def opset(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators that a model is written in."""
    return next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)


def constant_of(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """The tensor of a Constant node; None for strings."""
    (attribute,) = node.attribute
    value: Any = helper.get_attribute_value(attribute)
    if attribute.name == "value":
        tensor = onnx.TensorProto()
        tensor.CopyFrom(value)
        tensor.name = node.output[0]
        return tensor
    kinds = {"value_float": np.float32, "value_floats": np.float32,
             "value_int": np.int64, "value_ints": np.int64}  # fmt: skip
    if attribute.name not in kinds:
        return None
    return numpy_helper.from_array(np.array(value, kinds[attribute.name]), node.output[0])


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes by name; text as str."""
    found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in found.items()}
