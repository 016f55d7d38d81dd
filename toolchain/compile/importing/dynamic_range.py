"""Products of a dynamic-range .tflite in its ONNX graph, as TensorFlow Lite adds them.

The file has weights of int8 and activations of float32. Such a layer rounds its input as it comes
(PortableSymmetricQuantizeFloats and PortableAsymmetricQuantizeFloats of
kernels/internal/reference/portable_tensor_utils.cc), adds products of integers, and scales the sum:

    symmetric:   scale = max |x| / 127,  q = round(x / scale)
    asymmetric:  scale = (max(x, 0) - min(x, 0)) / 255,  q = zero + round(x / scale)
    y = sum (q - zero) w * (scale * scale of w) + bias

with q within int8, halves away from zero, a scale for each row of a FULLY_CONNECTED and for each
image of a CONV_2D or DEPTHWISE_CONV_2D. An ONNX graph says only that weights are dequantised, or
rounds by one scale for all rows, so which layers these are is read from the file: by their weights,
in whatever order the graph has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto

from toolchain.compile.operators.graph import Graph, attributes
from toolchain.formats.rounding.tflite_network import Network, Operator, Tensor

PRODUCTS = ("Conv", "MatMul", "Gemm")
MOVES = ("Transpose", "Reshape", "Squeeze", "Unsqueeze")
IMAGE_AXES, ROW_AXES = (1, 2, 3), (-1,)
STEPS = (-128, 127)  # of int8
KERNELS = "edgewright.kernels"  # in the metadata of a graph whose products are all such


def write_out(model: onnx.ModelProto, network: Network) -> None:
    """Write a graph's hybrid products out in integers, in place.

    Where all of them could be, the graph's metadata says so (`is_written_out`); what can't be stays
    a product of float32 and of dequantised weights.

    Args:
        model: made of the file, shapes known.
        network: the file's.
    """
    wanted: dict[bytes, bool | None] = {}
    for operator, weights in network.hybrid_layers:
        assert weights.rounding is not None
        key, kernel = _key(weights.value, weights.rounding.scale), _asymmetric(operator, weights)
        wanted[key] = kernel if wanted.get(key, kernel) == kernel else None
    graph = Graph(model)
    makers = {name: node for node in graph.proto.node for name in node.output}
    _unrounded(graph, makers)
    kept: list[onnx.NodeProto] = []
    written = 0
    for node in list(graph.proto.node):
        graph.made.clear()
        if node.op_type in PRODUCTS and _write(graph, node, makers, wanted):
            kept += graph.made
            written += 1
        else:
            kept.append(node)
    if not written:
        return
    del graph.proto.node[:]
    graph.proto.node.extend(_used(kept, {value.name for value in model.graph.output}))
    if written == network.hybrid_operators:
        model.metadata_props.add(key=KERNELS, value="1")


def is_written_out(model: onnx.ModelProto) -> bool:
    """Whether all products of a graph are those of TensorFlow Lite's hybrid kernels."""
    return any(one.key == KERNELS for one in model.metadata_props)


def carry(model: onnx.ModelProto, made: onnx.ModelProto) -> None:
    """Say it of a graph that was made of one that says so."""
    if is_written_out(model) and not is_written_out(made):
        made.metadata_props.add(key=KERNELS, value="1")


def _asymmetric(operator: Operator, weights: Tensor) -> bool | None:
    """Whether an operator's input has a zero point; None where its kernel is another."""
    assert weights.rounding is not None
    scales = weights.rounding.scale.size
    if weights.rounding.zero.any():
        return None
    if operator.name == "FULLY_CONNECTED":
        return None if operator.option(1, "b") else bool(operator.option(3, "b"))
    if operator.name == "CONV_2D":  # ConvPrepare of kernels/conv.cc
        return bool((weights.rounding.scale != weights.rounding.scale[0]).any())
    return True if scales > 1 else None


def _key(value: npt.NDArray[Any] | None, scale: npt.NDArray[np.float32]) -> bytes:
    """What weights have in common, in whatever order a graph has them."""
    assert value is not None
    counts = np.bincount(value.astype(np.int16).ravel() + 128, minlength=256)
    return counts.tobytes() + np.sort(scale.ravel()).tobytes()


def _write(
    graph: Graph,
    node: onnx.NodeProto,
    makers: Mapping[str, onnx.NodeProto],
    wanted: Mapping[bytes, bool | None],
) -> bool:
    """Add what replaces a product; whether it could be."""
    said = attributes(node)
    is_image = node.op_type == "Conv"
    found = _weights(graph, node.input[1], makers)
    shape = graph.shape(node.input[1])
    if found is None or shape is None or len(shape) != (4 if is_image else 2):
        return False
    steps, scale, moves = found
    asymmetric = wanted.get(_key(graph.value(steps), scale))
    if asymmetric is None or said.get("transA") or said.get("alpha", 1) != 1:
        return False
    turned = bool(said.get("transB"))
    columns = shape[0] if is_image or turned else shape[1]
    if scale.size not in (1, columns) or said.get("beta", 1) != 1:
        return False
    axes = IMAGE_AXES if is_image else ROW_AXES
    centred, step = _rounded(graph, node.input[0], axes, asymmetric)
    held = graph.emit("Cast", [_moved(graph, steps, moves)], to=TensorProto.INT32)
    if turned:
        held = graph.emit("Transpose", [held], perm=[1, 0])
    form = (1, -1, 1, 1) if is_image else (-1,)
    sums = graph.emit("Conv" if is_image else "MatMul", [centred, held], **said if is_image else {})
    wide = graph.emit("Cast", [sums], to=TensorProto.FLOAT)
    both = graph.emit("Mul", [step, graph.const(scale.reshape(form), "scale")])
    bias = [*node.input, ""][2]
    if not bias:
        graph.emit("Mul", [wide, both], output=node.output[0])
        return True
    if is_image:
        bias = graph.emit("Reshape", [bias, graph.ints(*form)])
    graph.emit("Add", [graph.emit("Mul", [wide, both]), bias], output=node.output[0])
    return True


def _weights(
    graph: Graph, name: str, makers: Mapping[str, onnx.NodeProto]
) -> tuple[str, npt.NDArray[np.float32], list[onnx.NodeProto]] | None:
    """The steps of dequantised constants, their scales, and what moves them, the first first."""
    moves = list[onnx.NodeProto]()
    while name in makers and makers[name].op_type in MOVES:
        moves.insert(0, makers[name])
        name = makers[name].input[0]
    node = makers.get(name)
    if node is None or node.op_type != "DequantizeLinear":
        return None
    value, scale = graph.value(node.input[0]), graph.value(node.input[1])
    zero = graph.value([*node.input, ""][2])
    if value is None or scale is None or value.dtype != np.int8:
        return None
    if zero is not None and zero.any():
        return None
    return node.input[0], scale.astype(np.float32).ravel(), moves


def _moved(graph: Graph, name: str, moves: list[onnx.NodeProto]) -> str:
    for move in moves:
        name = graph.emit(move.op_type, [name, *move.input[1:]], **attributes(move))
    return name


def _unrounded(graph: Graph, makers: Mapping[str, onnx.NodeProto]) -> None:
    """Take out what is rounded by one scale for all of it, and made float32 again.

    No TensorFlow Lite file says so: it is how tf2onnx says an asymmetric FULLY_CONNECTED, whose
    bias it rounds too.
    """
    real = {}
    for name, node in makers.items():
        rounding = makers.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if rounding is not None and rounding.op_type == "DynamicQuantizeLinear":
            real[name] = rounding.input[0]
    for node in graph.proto.node:
        for place, name in enumerate(node.input):
            node.input[place] = real.get(name, name)


def _rounded(graph: Graph, x: str, axes: tuple[int, ...], asymmetric: bool) -> tuple[str, str]:
    """Steps of int32 less their zero point, and what one stands for; a scale for all of `axes`."""
    ends = [graph.over_axes(f"Reduce{end}", x, axes, keepdims=1) for end in ("Min", "Max")]
    if asymmetric:
        step, zero = _asymmetric_scale(graph, *ends)
        inverse = graph.emit("Div", [_real_number(graph, 1), step])
    else:
        sizes = [graph.emit("Abs", [end]) for end in ends]
        most, zero = _not_zero(graph, graph.emit("Max", sizes), np.float32(127)), ""
        step = graph.emit("Div", [most, _real_number(graph, 127)])
        inverse = graph.emit("Div", [_real_number(graph, 127), most])
    # none is below this, and no compiler makes one rounding of two across it
    least = _real_number(graph, -256)
    steps = _whole(graph, graph.emit("Max", [graph.emit("Mul", [inverse, x]), least]))
    if zero:
        steps = graph.emit("Add", [steps, zero])
    low, high = STEPS if zero else (-STEPS[1], STEPS[1])
    limits = [graph.const(np.array(end, np.int32)) for end in (low, high)]
    inside = graph.emit("Min", [graph.emit("Max", [steps, limits[0]]), limits[1]])
    narrow = graph.emit("Cast", [inside], to=TensorProto.INT8)
    steps = graph.emit("Cast", [narrow], to=TensorProto.INT32)
    return graph.emit("Sub", [steps, zero]) if zero else steps, step


def _asymmetric_scale(graph: Graph, least: str, most: str) -> tuple[str, str]:
    """A scale of float32 and a zero point of int32, for what lies between two numbers and 0."""
    nothing = _real_number(graph, 0)
    ends = graph.emit("Min", [least, nothing]), graph.emit("Max", [most, nothing])
    low, high = (graph.emit("Cast", [end], to=TensorProto.DOUBLE) for end in ends)
    span = _not_zero(graph, graph.emit("Sub", [high, low]), np.float64(255))
    scale = graph.emit("Div", [span, _real_number(graph, 255, np.float64)])
    zeros, errors = [], []
    limits = [_real_number(graph, end, np.float64) for end in STEPS]
    for size, limit, end in zip(STEPS, limits, (low, high), strict=True):
        part = graph.emit("Div", [end, scale])
        zeros.append(graph.emit("Sub", [limit, part]))
        of_limit = _real_number(graph, abs(size), np.float64)
        errors.append(graph.emit("Add", [of_limit, graph.emit("Abs", [part])]))
    nearer = graph.emit("Where", [graph.emit("Less", errors), *zeros])
    inside = graph.emit("Min", [graph.emit("Max", [nearer, limits[0]]), limits[1]])
    narrow = graph.emit("Cast", [_whole(graph, inside, np.float64)], to=TensorProto.INT8)
    return (
        graph.emit("Cast", [scale], to=TensorProto.FLOAT),
        graph.emit("Cast", [narrow], to=TensorProto.INT32),
    )


def _not_zero(graph: Graph, number: str, instead: np.floating[Any]) -> str:
    none = graph.const(np.zeros((), instead.dtype))
    return graph.emit(
        "Where", [graph.emit("Equal", [number, none]), graph.const(np.asarray(instead)), number]
    )


def _whole(graph: Graph, number: str, kind: type[np.floating[Any]] = np.float32) -> str:
    """The int32 nearest to a number of a type, halves away from zero."""
    # cut off after this is added on its side of zero, a half goes away from it, and nothing below
    half = np.nextafter(kind(0.5), kind(0))
    is_below = graph.emit("Less", [number, graph.const(np.zeros((), kind))])
    part = graph.emit("Where", [is_below, graph.const(-half), graph.const(half)])
    return graph.emit("Cast", [graph.emit("Add", [number, part])], to=TensorProto.INT32)


def _real_number(graph: Graph, number: float, kind: type[np.floating[Any]] = np.float32) -> str:
    return graph.const(np.array(number, kind))


def _used(nodes: list[onnx.NodeProto], outputs: set[str]) -> list[onnx.NodeProto]:
    """Nodes without those that nothing reads any more; all where some have graphs inside."""
    if any(one.HasField("g") for node in nodes for one in node.attribute):
        return nodes
    read, kept = set(outputs), list[onnx.NodeProto]()
    for node in reversed(nodes):
        if read & set(node.output):
            read |= set(node.input)
            kept.insert(0, node)
    return kept
