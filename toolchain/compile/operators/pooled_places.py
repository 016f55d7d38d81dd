"""MaxPool that also gives where each greatest value stands: the windows gathered, and ArgMax.

The values stay a MaxPool; the windows are read once more for the places.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from onnx import helper

from toolchain.compile.operators import refusal
from toolchain.compile.operators.graph import Array, Graph, attributes

OPERATORS = ("MaxPool",)


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Replace the second output.

    Returns:
        whether there is one.

    Raises:
        ModelError: a shape is not known.
    """
    if len(node.output) < 2 or not node.output[1]:
        return False
    shape, pooled = graph.shape(node.input[0]), graph.shape(node.output[0])
    if shape is None or pooled is None:
        raise refusal.of(node, "the shape of its input is not known, which its Indices need")
    said = attributes(node)
    column_major = bool(said.pop("storage_order", 0))
    graph.emit("MaxPool", [node.input[0]], output=node.output[0], **said)
    places, inside = _windows(shape[2:], pooled[2:], said)
    rows, size = shape[0] * shape[1], math.prod(shape[2:])
    flat = graph.emit("Reshape", [node.input[0], graph.ints(rows, size)])
    windows = graph.emit("Gather", [flat, graph.const(places, "places")], axis=1)
    least = graph.const(_least(graph.type(node.input[0])), "least")
    windows = graph.emit("Where", [graph.const(inside[None], "inside"), windows, least])
    greatest = graph.emit("ArgMax", [windows], axis=2, keepdims=1)
    taps = graph.const(np.arange(places.shape[1]), "taps")
    there = graph.emit("Equal", [greatest, taps])
    told = _column_major(places, shape[2:]) if column_major else places
    zero = graph.const(np.zeros((), np.int64), "zero")
    each = graph.emit("Where", [there, graph.const(told[None], "places"), zero])
    place = graph.over_axes("ReduceSum", each, [2], keepdims=0)
    before = graph.const((np.arange(rows) * size)[:, None], "before")
    whole = graph.emit("Add", [place, before])
    graph.emit("Reshape", [whole, graph.ints(*pooled)], output=node.output[1])
    return True


def _least(kind: int) -> Array:
    """What is never the greatest of a window, in a type of elements."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    least = np.iinfo(dtype).min if dtype.kind in "iu" else -np.inf
    return np.array(least, dtype)


def _windows(
    shape: tuple[int, ...], pooled: tuple[int, ...], said: dict[str, Any]
) -> tuple[Array, Array]:
    """Which elements of an image, in one row, are in each window.

    Returns:
        places (windows, taps), clipped to the image, and whether each is inside of it.
    """
    kernel = [int(k) for k in said["kernel_shape"]]
    rank = len(shape)
    strides, dilations = (said.get(n) or [1] * rank for n in ("strides", "dilations"))
    begins = _begins(shape, pooled, said, kernel)
    places, inside = np.zeros([1] * (2 * rank), np.int64), np.ones([1] * (2 * rank), bool)
    for axis in range(rank):
        at = np.arange(pooled[axis])[:, None] * strides[axis] - begins[axis]
        at = at + np.arange(kernel[axis])[None, :] * dilations[axis]
        form = [1] * (2 * rank)
        form[axis], form[rank + axis] = at.shape
        at = at.reshape(form)
        inside = inside & (at >= 0) & (at < shape[axis])
        places = places * shape[axis] + np.clip(at, 0, shape[axis] - 1)
    form = [math.prod(pooled), math.prod(kernel)]
    return places.reshape(form), inside.reshape(form)


def _begins(
    shape: tuple[int, ...], pooled: tuple[int, ...], said: dict[str, Any], kernel: list[int]
) -> list[int]:
    """What is added before each axis."""
    rule = str(said.get("auto_pad", "NOTSET"))
    if not rule.startswith("SAME"):
        return list(said.get("pads", [0] * len(shape)))[: len(shape)]
    strides, dilations = (said.get(n) or [1] * len(shape) for n in ("strides", "dilations"))
    begins = []
    for axis, size in enumerate(shape):
        reach = (pooled[axis] - 1) * strides[axis] + (kernel[axis] - 1) * dilations[axis] + 1
        total = max(reach - size, 0)
        begins.append(total // 2 if rule == "SAME_UPPER" else total - total // 2)
    return begins


def _column_major(places: Array, shape: tuple[int, ...]) -> Array:
    """Places in one row of elements as they are counted with the first axis fastest."""
    found: Array = np.ravel_multi_index(np.unravel_index(places, shape), shape, order="F")
    return found
