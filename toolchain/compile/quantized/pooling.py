"""Windows and axes of steps reduced: AVERAGE_POOL_2D, MAX_POOL_2D, MEAN, the largest, the least."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from toolchain.compile.quantized.emitter import Emitter, activation_limits
from toolchain.compile.quantized.fixed_point import Factor, clamped
from toolchain.compile.quantized.products import padding
from toolchain.formats.rounding.tflite_network import NotImportedError, Operator, Tensor

ONCE = (1, 1)  # no dilation
Pads = tuple[tuple[int, int], tuple[int, int]]


def average(emitter: Emitter, operator: Operator) -> list[Any]:
    """AVERAGE_POOL_2D: the steps' mean over what of a window lies inside, halves away from zero."""
    x, to = _alike(emitter, operator)
    window, strides, pads = _window(operator, x)
    wide = emitter.emit(relax.op.astype(emitter.value(operator, 0), "int32"))
    image = _around(emitter, wide, pads, 0)
    sums = emitter.call(_pool(window, strides, te.sum), image, name="sum_pool2d")
    high, across = (
        _inside(size, taps, stride, pair)
        for size, taps, stride, pair in zip(x.shape[1:3], window, strides, pads, strict=True)
    )
    counts = np.outer(high, across).astype(np.int32)
    limits = activation_limits(operator, 5, to)
    table = [] if (counts == counts[0, 0]).all() else [relax.const(counts)]

    def divide(sums: te.Tensor, tables: list[te.Tensor]) -> te.Tensor:
        def at(n: Any, i: Any, j: Any, c: Any) -> Any:
            count = tables[0][i, j] if tables else tirx.const(int(counts[0, 0]), "int32")
            half = tirx.truncdiv(count, tirx.const(2, "int32"))
            total = sums[n, i, j, c]
            above = tirx.Select(total > 0, total + half, total - half)
            return clamped(tirx.truncdiv(above, count), *limits, to.kind)

        return te.compute(sums.shape, at, name="divide")

    return [emitter.call(divide, sums, table, name="divide")]


def largest(emitter: Emitter, operator: Operator) -> list[Any]:
    """MAX_POOL_2D."""
    x, to = _alike(emitter, operator)
    window, strides, pads = _window(operator, x)
    least = int(np.iinfo(x.kind).min)
    image = _around(emitter, emitter.value(operator, 0), pads, least)
    most = emitter.call(_pool(window, strides, te.max), image, name="max_pool2d")
    limits = activation_limits(operator, 5, to)
    if limits == (least, int(np.iinfo(x.kind).max)):
        return [most]
    wide = emitter.emit(relax.op.astype(most, "int32"))
    inside = emitter.emit(relax.op.clip(wide, *limits))
    return [emitter.emit(relax.op.astype(inside, to.kind))]


def mean(emitter: Emitter, operator: Operator) -> list[Any]:
    """MEAN: sums, with the number of values in the factor (reference/integer_ops/mean.h)."""
    x, to = emitter.rounded(operator, 0), emitter.rounded_output(operator)
    rank = len(x.shape)
    axes = sorted({int(axis) % rank for axis in emitter.constant(operator, 1).reshape(-1)})
    count = math.prod(x.shape[axis] for axis in axes)
    if not count:
        raise NotImportedError(f"{operator.name} of nothing")
    one = Factor.of(float(x.scale) / float(to.scale))
    shift = min(count.bit_length() - 1, 32, 31 + int(one.shift[0]))
    factor = Factor(multiplier=(one.multiplier << shift) // count, shift=one.shift - shift)
    sums = emitter.emit(
        relax.op.sum(emitter.emit(relax.op.astype(emitter.value(operator, 0), "int32")), axes)
    )
    info = np.iinfo(to.kind)
    bias = np.array([-x.zero * count])
    made = emitter.requantized(sums, to, factor, bias=bias, limits=(int(info.min), int(info.max)))
    return [emitter.emit(relax.op.reshape(made, to.shape))]


def extreme(emitter: Emitter, operator: Operator) -> list[Any]:
    """REDUCE_MAX and REDUCE_MIN of steps of one scale."""
    _, to = _alike(emitter, operator)
    of = relax.op.max if operator.name == "REDUCE_MAX" else relax.op.min
    axes = [int(axis) for axis in emitter.constant(operator, 1).reshape(-1)]
    wide = emitter.emit(relax.op.astype(emitter.value(operator, 0), "int32"))
    found = emitter.emit(relax.op.astype(emitter.emit(of(wide, axes)), to.kind))
    return [emitter.emit(relax.op.reshape(found, to.shape))]


def place_of_extreme(emitter: Emitter, operator: Operator) -> list[Any]:
    """ARG_MAX and ARG_MIN along a constant axis; the first of several."""
    emitter.rounded(operator, 0)
    to, axis = emitter.made(operator), int(emitter.constant(operator, 1).reshape(-1)[0])
    of = relax.op.argmax if operator.name == "ARG_MAX" else relax.op.argmin
    wide = emitter.emit(relax.op.astype(emitter.value(operator, 0), "int32"))
    return [emitter.emit(relax.op.astype(emitter.emit(of(wide, axis)), to.kind))]


def _alike(emitter: Emitter, operator: Operator) -> tuple[Tensor, Tensor]:
    """The input and the output, which have one scale and zero point."""
    x, to = emitter.rounded(operator, 0), emitter.rounded_output(operator)
    if (x.kind, x.scale, x.zero) != (to.kind, to.scale, to.zero):
        raise NotImportedError(f"{operator.name}: {x.name} and {to.name} have different scales")
    return x, to


def _window(operator: Operator, x: Tensor) -> tuple[tuple[int, int], tuple[int, int], Pads]:
    window = operator.option(4, "i"), operator.option(3, "i")
    strides = operator.option(2, "i"), operator.option(1, "i")
    return window, strides, padding(operator, x, window, strides, ONCE)


def _around(emitter: Emitter, x: Any, pads: Pads, value: int) -> Any:
    if not any(size for pair in pads for size in pair):
        return x
    return emitter.emit(relax.op.nn.pad(x, [0, 0, *pads[0], *pads[1], 0, 0], pad_value=value))


def _inside(size: int, taps: int, stride: int, pads: tuple[int, int]) -> list[int]:
    """How many taps of a window lie inside of an image, at each of its positions."""
    count = (size + sum(pads) - taps) // stride + 1
    starts = [position * stride - pads[0] for position in range(count)]
    return [min(start + taps, size) - max(start, 0) for start in starts]


def _pool(
    window: tuple[int, int], strides: tuple[int, int], reduce: Any
) -> Callable[[te.Tensor], te.Tensor]:
    """What reduces windows of an image [N, H, W, C], padded already."""

    def pool(x: te.Tensor) -> te.Tensor:
        batch, high, wide, channels = (int(size) for size in x.shape)
        r, s = te.reduce_axis((0, window[0]), "r"), te.reduce_axis((0, window[1]), "s")
        down, across = (high - window[0]) // strides[0] + 1, (wide - window[1]) // strides[1] + 1

        def at(n: Any, i: Any, j: Any, c: Any) -> Any:
            return reduce(x[n, i * strides[0] + r, j * strides[1] + s, c], axis=[r, s])

        return te.compute((batch, down, across, channels), at, name="pool2d")

    return pool


RULES: Mapping[str, Any] = {
    "AVERAGE_POOL_2D": average,
    "MAX_POOL_2D": largest,
    "MEAN": mean,
    "REDUCE_MAX": extreme,
    "REDUCE_MIN": extreme,
    "ARG_MAX": place_of_extreme,
    "ARG_MIN": place_of_extreme,
}
