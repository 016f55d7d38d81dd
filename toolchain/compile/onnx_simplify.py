"""An ONNX graph as Relax's layout pass can handle it: nothing left that only stands in its way.

What exporters leave behind and ONNX Runtime takes out for itself. Each rule gives the same values
bit for bit, but for the scale that goes into weights and rounds there; a graph that has none of
these patterns is returned as it was.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper, shape_inference

ELEMENTWISE = {"Add", "Sub", "Mul", "Div"}
SPATIAL = 2  # N and C come first


class _Graph:
    """A graph with its uses, constants and shapes looked up by name."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.outputs = {value.name for value in graph.output}
        self.users: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self.users[name].append(node)
        self.shapes = {
            value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
            for value in [*graph.value_info, *graph.input, *graph.output]
        }

    def value(self, name: str) -> npt.NDArray[np.generic] | None:
        """A constant's value, None for what is computed."""
        tensor = self.constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def bypass(self, node: onnx.NodeProto) -> None:
        """Give a node's input to all who use its output, and remove it."""
        source, sink = node.input[0], node.output[0]
        for user in self.users.pop(sink, []):
            for index, name in enumerate(user.input):
                if name == sink:
                    user.input[index] = source
            self.users[source].append(user)
        self.graph.node.remove(node)


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without padding, scales after convolutions, and reshapes to the same shape.

    Constants of shape [1, 1] lose their axes.

    Args:
        model: images in NCHW with channels on axis 1, weights OIHW, as ONNX has them; shapes that
            inference can't find leave the rules out that need them. It is not changed.

    Returns:
        a copy with the same inputs and outputs, and with shapes inferred.
    """
    inferred = shape_inference.infer_shapes(model)
    graph = _Graph(inferred.graph)
    for node in list(inferred.graph.node):
        if node.output[0] in graph.outputs:
            continue
        if node.op_type == "Pad":
            _pad_into_windows(graph, node)
        elif node.op_type == "Reshape":
            _drop_reshape(graph, node)
        elif node.op_type == "Mul":
            _scale_into_weights(graph, node)
    _scalar_constants(graph)
    return inferred


def _drop_reshape(graph: _Graph, node: onnx.NodeProto) -> None:
    """A reshape to the shape it has: the layout pass can't look through one."""
    shape = graph.shapes.get(node.input[0])
    if shape and all(shape) and shape == graph.shapes.get(node.output[0]):
        graph.bypass(node)


def _pad_into_windows(graph: _Graph, node: onnx.NodeProto) -> None:
    """Zero padding before convolutions becomes theirs: one pass over memory less.

    Before maximum pooling too, where no input is negative: pooling pads with minus infinity, and
    each of its windows has an input in it.
    """
    pads = _zero_pads(graph, node)
    users = graph.users[node.output[0]]
    if pads is None or not users:
        return
    makers = [n.op_type for n in graph.graph.node if node.input[0] in n.output]
    fitting = {"Conv", "MaxPool"} if makers == ["Relu"] else {"Conv"}
    for user in users:
        automatic = _attribute(user, "auto_pad")
        if user.op_type not in fitting or user.input[0] != node.output[0]:
            return
        if automatic is not None and automatic.s not in (b"", b"NOTSET"):
            return
        if user.op_type == "MaxPool" and not _pads_inside_window(user, pads):
            return
    for user in users:
        own = _attribute(user, "pads")
        if own is None:
            user.attribute.append(onnx.helper.make_attribute("pads", pads))
        else:
            own.ints[:] = [a + b for a, b in zip(own.ints, pads, strict=True)]
    graph.bypass(node)


def _scale_into_weights(graph: _Graph, node: onnx.NodeProto) -> None:
    """A constant factor for each channel, as batch norm leaves after depthwise convolutions."""
    scale = next((v for v in map(graph.value, node.input) if v is not None), None)
    if scale is None:
        return
    (made,) = [n for n in node.input if n not in graph.constants][:1] or [""]
    convolution = next((n for n in graph.graph.node if made in n.output), None)
    if convolution is None or convolution.op_type != "Conv":
        return
    parameters = [graph.value(name) for name in convolution.input[1:]]
    if any(p is None for p in parameters) or made in graph.outputs or len(graph.users[made]) != 1:
        return
    channels = len(parameters[0]) if parameters[0] is not None else 0
    if scale.shape[-3:] != (channels, 1, 1) or scale.size != channels:
        return
    for index, (name, value) in enumerate(
        zip(convolution.input[1:], parameters, strict=True), start=1
    ):
        assert value is not None
        factors = scale.reshape(channels, *[1] * (value.ndim - 1))
        tensor = numpy_helper.from_array(np.multiply(value, factors), f"{name}__of_{made}")
        graph.constants[tensor.name] = tensor
        graph.graph.initializer.append(tensor)
        convolution.input[index] = tensor.name
    if node.input[0] != made:
        node.input[0], node.input[1] = node.input[1], node.input[0]
    graph.bypass(node)


def _pads_inside_window(pool: onnx.NodeProto, pads: Sequence[int]) -> bool:
    """Whether a pooling without pads of its own may have these, by ONNX's rules."""
    kernel = _attribute(pool, "kernel_shape")
    ceil = _attribute(pool, "ceil_mode")
    return (
        kernel is not None
        and _attribute(pool, "dilations") is None
        and (ceil is None or ceil.i == 0)
        and not any(getattr(_attribute(pool, "pads"), "ints", ()))
        and all(p < k for p, k in zip(pads, [*kernel.ints, *kernel.ints], strict=True))
    )


def _zero_pads(graph: _Graph, node: onnx.NodeProto) -> Sequence[int] | None:
    """What a Pad adds around the image in the order of Conv's `pads`; None if it does more."""
    mode = _attribute(node, "mode")
    if (mode is not None and mode.s != b"constant") or not 2 <= len(node.input) <= 3:
        return None
    if len(node.input) == 3 and node.input[2]:
        fill = graph.value(node.input[2])
        if fill is None or fill.any():
            return None
    pads = graph.value(node.input[1])
    if pads is None:
        return None
    before, after = np.split(pads.astype(np.int64), 2)
    if before[:SPATIAL].any() or after[:SPATIAL].any() or (pads.astype(np.int64) < 0).any():
        return None
    return [int(p) for p in (*before[SPATIAL:], *after[SPATIAL:])]


def _scalar_constants(graph: _Graph) -> None:
    """One number that is added or multiplied gets rank 0, which has no layout to be turned."""
    for node in graph.graph.node:
        if node.op_type not in ELEMENTWISE:
            continue
        for index, name in enumerate(node.input):
            value, other = graph.value(name), node.input[1 - index]
            if value is None or other in graph.constants or value.size != 1 or not value.shape:
                continue
            if len(graph.shapes.get(other, [])) < value.ndim:
                continue  # there it also decides the output's rank
            scalar = f"{name}__scalar"
            if scalar not in graph.constants:
                tensor = numpy_helper.from_array(value.reshape(()), scalar)
                graph.constants[scalar] = tensor
                graph.graph.initializer.append(tensor)
            node.input[index] = scalar


def _attribute(node: onnx.NodeProto, name: str) -> onnx.AttributeProto | None:
    return next((a for a in node.attribute if a.name == name), None)
