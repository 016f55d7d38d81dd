"""Element types that TVM has no arithmetic for, a byte an element: 2 and 4 bits, float8, float4.

A graph's inputs, outputs and constants of these become bytes: integers of 2 and 4 bits are int8 or
uint8 of the same value; small floats are uint8, their codes. What only moves values moves bytes;
Cast and the quantising operators are written out: a code to its value by a table, a value to its
code by how many limits between two codes lie below it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from toolchain.compile.operators.graph import Array, Graph, attributes

INTEGERS = {
    TensorProto.INT2: (-2, 1),
    TensorProto.INT4: (-8, 7),
    TensorProto.UINT2: (0, 3),
    TensorProto.UINT4: (0, 15),
}
FLOATS = {
    TensorProto.FLOAT4E2M1, TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E4M3FNUZ,
    TensorProto.FLOAT8E5M2, TensorProto.FLOAT8E5M2FNUZ, TensorProto.FLOAT8E8M0,
}  # fmt: skip
# Infinity where it overflows, when it does not saturate; the others have NaN there.
WITH_INFINITY = {TensorProto.FLOAT8E5M2}
CASTS = {"Cast", "CastLike", "DequantizeLinear", "QuantizeLinear"}


def carrier(kind: int) -> int:
    """The type that elements of a type are carried in: itself for all that are not narrow."""
    if kind in FLOATS:
        return int(TensorProto.UINT8)
    if kind in INTEGERS:
        return int(TensorProto.INT8 if INTEGERS[kind][0] < 0 else TensorProto.UINT8)
    return kind


def carried(array: Array) -> Array:
    """An array of a narrow type as the bytes that carry it; any other as it is."""
    try:
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    except ValueError:
        return array
    if kind in INTEGERS:
        return array.astype(helper.tensor_dtype_to_np_dtype(carrier(kind)))
    return array.view(np.uint8) if kind in FLOATS else array


def carry(model: onnx.ModelProto) -> bool:
    """Take narrow types out of a graph, in place.

    Args:
        model: with types inferred.

    Returns:
        whether there were any.
    """
    graph = Graph(model)
    if not any(carrier(kind) != kind for kind in _types(graph)):
        return False
    kept: list[onnx.NodeProto] = []
    for node in graph.proto.node:
        graph.made.clear()
        if node.op_type in CASTS and not node.domain and _written_out(graph, node):
            kept += graph.made
        else:
            kept.append(node)
    del graph.proto.node[:]
    graph.proto.node.extend(kept)
    for value in [*graph.proto.input, *graph.proto.output]:
        tensor = value.type.tensor_type
        tensor.elem_type = carrier(tensor.elem_type)
    del graph.proto.value_info[:]
    for constant in graph.proto.initializer:
        if carrier(constant.data_type) != constant.data_type:
            value = carried(numpy_helper.to_array(constant))
            constant.CopyFrom(numpy_helper.from_array(value, constant.name))
    return True


def _types(graph: Graph) -> set[int]:
    return {t.elem_type for t in graph.values.values()} | {
        int(t.data_type) for t in graph.constants.values()
    }


def _written_out(graph: Graph, node: onnx.NodeProto) -> bool:
    """Write out a node that reads or makes a narrow type."""
    made, read = graph.type(node.output[0]), graph.type(node.input[0])
    said = attributes(node)
    if carrier(made) == made and carrier(read) == read:
        return False
    if node.op_type in ("Cast", "CastLike"):
        value = _value(graph, node.input[0])
        _code(graph, value, made, said, node.input[0], node.output[0])
    elif node.op_type == "DequantizeLinear":
        scale, zero = [*node.input, ""][1:3]
        value = _value(graph, node.input[0])
        if zero:
            value = graph.emit("Sub", [value, _spread(graph, node, _value(graph, zero), zero)])
        value = graph.emit("Mul", [value, _spread(graph, node, _value(graph, scale), scale)])
        graph.emit("Cast", [value], to=made, output=node.output[0])
    else:
        scale, zero = [*node.input, ""][1:3]
        value = _value(graph, node.input[0])
        value = graph.emit("Div", [value, _spread(graph, node, _value(graph, scale), scale)])
        if made in INTEGERS:
            value = graph.emit("Round", [value])
        if zero:
            value = graph.emit("Add", [value, _spread(graph, node, _value(graph, zero), zero)])
        if made in INTEGERS:
            limits = [graph.const(np.array(n, np.float32)) for n in INTEGERS[made]]
            value = graph.emit("Clip", [value, *limits])
        _code(graph, value, made, said, node.input[0], node.output[0])
    return True


def _spread(graph: Graph, node: onnx.NodeProto, value: str, like: str) -> str:
    """A scale or zero point in the form that goes with each element of a node's input."""
    said, shape = attributes(node), graph.shape(node.input[0])
    own = graph.shape(like)
    if shape is None or own is None or np.prod(own, dtype=np.int64) == 1:
        return value
    axis, block = int(said.get("axis", 1)) % len(shape), int(said.get("block_size", 0))
    if block:
        places = graph.const(np.arange(shape[axis]) // block)
        return graph.emit("Gather", [value, places], axis=axis)
    form = [-1 if i == axis else 1 for i in range(len(shape))]
    return graph.emit("Reshape", [value, graph.ints(*form)])


def _value(graph: Graph, name: str) -> str:
    """Elements as float32."""
    kind = graph.type(name)
    if kind not in FLOATS:
        return graph.emit("Cast", [name], to=TensorProto.FLOAT)
    index = graph.emit("Cast", [name], to=TensorProto.INT32)
    return graph.emit("Gather", [graph.const(values(kind), "codes"), index], axis=0)


def values(kind: int) -> Array:
    """The float32 of each of the codes of a small float."""
    count = 16 if kind == TensorProto.FLOAT4E2M1 else 256
    codes = np.arange(count, dtype=np.uint8)
    found: Array = codes.view(helper.tensor_dtype_to_np_dtype(kind)).astype(np.float32)
    return found


def _code(
    graph: Graph, value: str, kind: int, said: dict[str, Any], like: str, output: str
) -> None:
    """Elements of float32 in what carries a type; they have the shape of a value `like`."""
    if kind in FLOATS:
        _float_code(graph, value, kind, said, like, output)
    elif kind in INTEGERS:
        least, most = INTEGERS[kind]
        size = most - least + 1
        whole = graph.emit("Cast", [value], to=TensorProto.INT32)
        # the value is named once: what is named twice is computed twice, wherever it is fused
        step, start = (graph.const(np.array(n, np.int32)) for n in (size, least))
        bits = graph.emit("Mod", [graph.emit("Sub", [whole, start]), step])
        signed = graph.emit("Add", [bits, start])
        graph.emit("Cast", [signed], to=carrier(kind), output=output)
    else:
        graph.emit("Cast", [value], to=kind, output=output)


def limits(kind: int, mode: str) -> Array:
    """The least float32 of each code after the first, for magnitudes; ascending.

    Args:
        kind: the type.
        mode: of rounding: "nearest" (ties to even codes), "up" or "down".
    """
    magnitudes = values(kind)[: _codes(kind)].astype(np.float64)
    if mode == "down":
        return magnitudes[1:].astype(np.float32)
    if mode == "up":
        return np.nextafter(magnitudes[:-1].astype(np.float32), np.float32(np.inf))
    middle = ((magnitudes[:-1] + magnitudes[1:]) / 2).astype(np.float32)
    # from an even code a tie stays, so that the odd one begins just above it
    odd = np.arange(1, len(magnitudes)) % 2 == 1
    found: Array = np.where(odd, np.nextafter(middle, np.float32(np.inf)), middle)
    return found


def _codes(kind: int) -> int:
    """How many codes are finite magnitudes; they come first."""
    table = values(kind)
    half = len(table) if kind == TensorProto.FLOAT8E8M0 else len(table) // 2
    return int(np.isfinite(table[:half]).sum())


def _float_code(
    graph: Graph, value: str, kind: int, said: dict[str, Any], like: str, output: str
) -> None:
    """The codes of elements of float32: sign, and how many limits lie below the magnitude."""
    table = values(kind)
    scale = kind == TensorProto.FLOAT8E8M0
    mode = str(said.get("round_mode", "up")) if scale else "nearest"
    between, zero = limits(kind, mode), graph.const(np.zeros((), np.float32))
    size = graph.emit("Abs", [value])
    rank = len(graph.shape(like) or ())
    column = between.reshape([-1] + [1] * rank)
    reached = graph.emit(
        "GreaterOrEqual",
        [graph.over_axes("Unsqueeze", size, [0]), graph.const(column, "limits")],
    )
    counted = graph.emit("Cast", [reached], to=TensorProto.INT32)
    code = graph.over_axes("ReduceSum", counted, [0], keepdims=0)
    overflows = not said.get("saturate", 1) and kind != TensorProto.FLOAT4E2M1
    unsigned = bool(np.isnan(table[len(table) // 2]))  # no negative zero: its code is the only NaN
    if overflows and not unsigned:
        code = _overflowing(graph, size, code, kind)
    if not scale:
        sign = graph.const(np.array(len(table) // 2, np.int32))
        none = graph.const(np.array(0, np.int32))
        negative = graph.emit("Less", [value, zero])
        if unsigned:
            some = graph.emit("Greater", [code, none])
            negative = graph.emit("And", [negative, some])
        code = graph.emit("Add", [code, graph.emit("Where", [negative, sign, none])])
    if overflows and unsigned:
        code = _overflowing(graph, size, code, kind)
    nans = np.flatnonzero(np.isnan(table))
    if len(nans):
        nan = graph.const(np.array(nans[0], np.int32))
        code = graph.emit("Where", [graph.emit("IsNaN", [value]), nan, code])
    graph.emit("Cast", [code], to=TensorProto.UINT8, output=output)


def _overflowing(graph: Graph, size: str, code: str, kind: int) -> str:
    """Codes whose magnitude is beyond the greatest are infinity or NaN."""
    table = values(kind)
    last = _codes(kind) - 1
    most = float(table[last])
    beyond = most + (most - float(table[last - 1])) / 2
    wanted = np.isinf(table) if kind in WITH_INFINITY else np.isnan(table)
    special = graph.const(np.array(np.flatnonzero(wanted)[0], np.int32))
    over = graph.emit("GreaterOrEqual", [size, graph.const(np.array(beyond, np.float32))])
    return graph.emit("Where", [over, special, code])
