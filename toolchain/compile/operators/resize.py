"""Resize as few reads and weights along each axis: every mode, coordinate rule and option of ONNX.

Along one axis a resize is linear: each output is a weighted sum of some inputs, whose places and
weights depend on sizes alone. So it is gathers by constant places, products with constant weights
and sums, which TVM fuses into what is before and behind. TVM's own has sizes only, no scales of
their own, and other rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx

from toolchain.compile.operators.graph import Array, Graph, attributes

OPERATORS = ("Resize", "Upsample")


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Replace a Resize or Upsample whose sizes are known.

    Returns:
        whether it was replaced; not where a size or a region of interest is computed.
    """
    shape = graph.shape(node.input[0])
    said = attributes(node)
    if shape is None:
        return False
    if node.op_type == "Upsample" or graph.opset < 11:
        said = {**said, "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    plan = _plan(graph, node, shape, said)
    if plan is None:
        return False
    value = node.input[0]
    outside: Array | None = None
    kind = onnx.helper.tensor_dtype_to_np_dtype(graph.type(node.input[0]))
    for axis, (size, scale, start, end) in sorted(plan.items()):
        places, weights, missing = taps(shape[axis], size, scale, (start, end), said)
        if missing.any():
            across = missing.reshape([-1 if i == axis else 1 for i in range(len(shape))])
            outside = across if outside is None else outside | across
        if (
            (places == np.arange(size)[:, None]).all()
            and size == shape[axis]
            and places.shape[1] == 1
        ):
            continue
        value = _along(graph, value, axis, places, weights.astype(kind), len(shape))
    if outside is not None:
        final = tuple(plan[a][0] if a in plan else n for a, n in enumerate(shape))
        fill = np.array(said.get("extrapolation_value", 0.0), kind)
        condition = graph.const(np.ascontiguousarray(np.broadcast_to(outside, final)), "outside")
        value = graph.emit("Where", [condition, graph.const(fill, "fill"), value])
    graph.emit("Identity", [value], output=node.output[0])
    return True


Axis = tuple[int, float, float, float]  # output's size, scale, region's start and end


def _plan(
    graph: Graph, node: onnx.NodeProto, shape: tuple[int, ...], said: dict[str, object]
) -> dict[int, Axis] | None:
    """What happens along each axis that is resized; None where that is not known yet."""
    inputs = [*node.input, "", "", ""]
    if node.op_type == "Upsample" or graph.opset < 11:
        roi, scales, sizes = "", inputs[1], ""
        given = np.array(said["scales"], np.float32) if "scales" in said else graph.value(scales)
    else:
        roi, scales, sizes = inputs[1], inputs[2], inputs[3]
        given = graph.value(scales) if scales else None
    wanted = graph.value(sizes) if sizes else None
    axes = [a % len(shape) for a in said.get("axes", range(len(shape)))]  # type: ignore[attr-defined]
    region = graph.value(roi) if roi else None
    if said.get("coordinate_transformation_mode") == "tf_crop_and_resize" and region is None:
        return None
    if wanted is not None and wanted.size:
        factors = [float(size) / shape[axis] for size, axis in zip(wanted, axes, strict=True)]
        policy = said.get("keep_aspect_ratio_policy", "stretch")
        targets = [int(size) for size in wanted]
        if policy != "stretch":
            best = (min if policy == "not_larger" else max)(factors)
            factors = [best] * len(axes)
            targets = [math.floor(best * shape[axis] + 0.5) for axis in axes]
    elif given is not None and given.size:
        factors = [float(np.float32(scale)) for scale in given]
        if region is None or said.get("coordinate_transformation_mode") != "tf_crop_and_resize":
            spans = [1.0] * len(axes)
        else:
            spans = [float(region[i + len(axes)] - region[i]) for i in range(len(axes))]
        targets = [
            math.floor(shape[axis] * span * factor)
            for axis, factor, span in zip(axes, factors, spans, strict=True)
        ]
    else:
        return None
    starts = (
        region
        if region is not None and region.size
        else np.array([0] * len(axes) + [1] * len(axes))
    )
    return {
        axis: (targets[i], factors[i], float(starts[i]), float(starts[i + len(axes)]))
        for i, axis in enumerate(axes)
    }


def taps(
    length: int, size: int, scale: float, region: tuple[float, float], said: dict[str, object]
) -> tuple[Array, Array, Array]:
    """Which inputs make each output along one axis.

    By ONNX's definition of Resize, operator by operator version 19.

    Args:
        length: the input's, in elements.
        size: the output's.
        scale: as given, or size over length.
        region: start and end of tf_crop_and_resize, as shares of the input.
        said: the node's attributes.

    Returns:
        places (size, n) of int64, weights (size, n) of float64, and (size) whether an output lies
        outside of the input, where tf_crop_and_resize has a value of its own.
    """
    mode = str(said.get("mode", "nearest"))
    rule = str(said.get("coordinate_transformation_mode", "half_pixel"))
    at = _coordinates(length, size, scale, region, rule)
    missing = np.zeros(size, bool)
    if rule == "tf_crop_and_resize":
        missing = (at < 0) | (at > length - 1)
    if mode == "nearest":
        rounding = str(said.get("nearest_mode", "round_prefer_floor"))
        places = np.clip(_rounded(at, rounding), 0, length - 1).astype(np.int64)
        return places[:, None], np.ones((size, 1)), missing
    kernel, reach = _kernel(mode, float(said.get("cubic_coeff_a", -0.75)))  # type: ignore[arg-type]
    stretch = min(scale, 1.0) if said.get("antialias") else 1.0
    span = math.ceil(reach / stretch)
    base = np.floor(at).astype(np.int64)
    offsets = np.arange(1 - span, span + 1)
    places = base[:, None] + offsets[None, :]
    weights = kernel((at[:, None] - places) * stretch)
    inside = (places >= 0) & (places < length)
    if said.get("exclude_outside"):
        weights = weights * inside
    total = weights.sum(axis=1, keepdims=True)
    weights = weights / np.where(total == 0, 1, total)
    used = np.abs(weights).max(axis=0) > 0
    return np.clip(places, 0, length - 1)[:, used], weights[:, used], missing


def _coordinates(  # noqa: PLR0911 # a rule of ONNX's a line
    length: int, size: int, scale: float, region: tuple[float, float], rule: str
) -> Array:
    """Where each output lies in the input, in elements of it."""
    out = np.arange(size, dtype=np.float64)
    start, end = region
    half_pixel = (out + 0.5) / scale - 0.5
    if rule == "asymmetric":
        return out / scale
    if rule == "align_corners":
        return out * (length - 1) / max(size - 1, 1)
    if rule == "pytorch_half_pixel" and size == 1:
        return np.zeros(size)
    if rule == "half_pixel_symmetric":
        return half_pixel + length / 2 * (1 - size / (scale * length))
    if rule == "tf_half_pixel_for_nn":
        return half_pixel + 0.5
    if rule == "tf_crop_and_resize":
        middle = 0.5 * (start + end) * (length - 1)
        across = start * (length - 1) + out * (end - start) * (length - 1) / max(size - 1, 1)
        return across if size > 1 else np.full(size, middle)
    return half_pixel


def _rounded(at: Array, rounding: str) -> Array:
    if rounding == "floor":
        return np.floor(at)
    if rounding == "ceil":
        return np.ceil(at)
    if rounding == "round_prefer_ceil":
        return np.floor(at + 0.5)
    return np.ceil(at - 0.5)


def _kernel(mode: str, a: float) -> tuple[Callable[[Array], Array], int]:
    """The weight of an input by its distance, and how far inputs count."""

    def linear(distance: Array) -> Array:
        return np.maximum(0.0, 1.0 - np.abs(distance))

    def cubic(distance: Array) -> Array:  # Keys, 1981
        d = np.abs(distance)
        near = (a + 2) * d**3 - (a + 3) * d**2 + 1
        far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
        return np.where(d <= 1, near, np.where(d < 2, far, 0.0))

    return (linear, 1) if mode == "linear" else (cubic, 2)


def _along(graph: Graph, value: str, axis: int, places: Array, weights: Array, rank: int) -> str:
    """The weighted sum of what is read along one axis."""
    across = [-1 if i == axis else 1 for i in range(rank)]
    total = ""
    for tap in range(places.shape[1]):
        index = graph.const(places[:, tap], "places")
        read = graph.emit("Gather", [value, index], axis=axis)
        if not (weights[:, tap] == 1).all():
            factor = graph.const(np.ascontiguousarray(weights[:, tap].reshape(across)), "weights")
            read = graph.emit("Mul", [read, factor])
        total = read if not total else graph.emit("Add", [total, read])
    return total
