"""ADD, SUB, MUL, MAXIMUM, MINIMUM, comparisons, QUANTIZE and DEQUANTIZE, value by value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from tvm import te, tirx

from toolchain.compile.quantized.emitter import Emitter, activation_limits
from toolchain.compile.quantized.fixed_point import Channelwise, Factor, clamped, scaling
from toolchain.formats.rounding.tflite_network import ROUNDED, NotImportedError, Operator, Tensor

# Bits that both sides of a sum are shifted up before they are scaled: kernels/add.cc.
HEADROOM = {"int8": 20, "uint8": 20, "int16": 15}
COMPARED = 8  # and of a comparison: kernels/comparisons.cc
COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "EQUAL": tirx.EQ,
    "NOT_EQUAL": tirx.NE,
    "GREATER": tirx.GT,
    "GREATER_EQUAL": tirx.GE,
    "LESS": tirx.LT,
    "LESS_EQUAL": tirx.LE,
}


def addition(emitter: Emitter, operator: Operator) -> list[Any]:
    """ADD and SUB: both sides in steps of twice the larger scale, shifted up, then the output's."""
    a, b, to = _sides(emitter, operator)
    if to.kind == "int16" and operator.option(1, "b", 1):
        raise NotImportedError(f"{operator.name} of int16 with scales that are powers of two")
    up = HEADROOM[to.kind]
    twice = 2.0 * max(float(a.scale), float(b.scale))
    factors = [Factor.of(float(side.scale) / twice) for side in (a, b)]
    last = Factor.of(twice / ((1 << up) * float(to.scale)))
    limits = activation_limits(operator, 0, to)
    sign = 1 if operator.name == "ADD" else -1
    scales = [scaling(factor, Channelwise()) for factor in (*factors, last)]

    def at(left: Any, right: Any) -> Any:
        sides = [
            scale([], None, (value.astype("int32") - side.zero) << up)
            for scale, value, side in zip(scales, (left, right), (a, b), strict=False)
        ]
        total = sides[0] + sides[1] if sign > 0 else sides[0] - sides[1]
        return clamped(scales[2]([], None, total) + to.zero, *limits, to.kind)

    return [_broadcast(emitter, operator, at, operator.name.lower())]


def multiplication(emitter: Emitter, operator: Operator) -> list[Any]:
    """MUL: the product of both sides' steps less their zero points, scaled once."""
    a, b, to = _sides(emitter, operator)
    # in float32, as mul.cc has it
    factor = Factor.of(float(a.scale * b.scale / to.scale))
    scale, limits = scaling(factor, Channelwise()), activation_limits(operator, 0, to)

    def at(left: Any, right: Any) -> Any:
        product = (left.astype("int32") - a.zero) * (right.astype("int32") - b.zero)
        return clamped(scale([], None, product) + to.zero, *limits, to.kind)

    return [_broadcast(emitter, operator, at, "multiply")]


def extremum(emitter: Emitter, operator: Operator) -> list[Any]:
    """MAXIMUM and MINIMUM of steps of one scale."""
    a, b, to = _sides(emitter, operator)
    if not (a.scale == b.scale == to.scale and a.zero == b.zero == to.zero):
        raise NotImportedError(f"{operator.name} of tensors of different scales")
    of = tirx.Max if operator.name == "MAXIMUM" else tirx.Min
    return [_broadcast(emitter, operator, of, operator.name.lower())]


def comparison(emitter: Emitter, operator: Operator) -> list[Any]:
    """EQUAL, GREATER, ...: both sides' steps less their zero points, shifted up, by their scales.

    So numbers of different scales that are nearly the same may be equal, as they are there.
    """
    sides = [emitter.rounded(operator, place, ("int8", "uint8")) for place in (0, 1)]
    if any(float(side.scale) >= 1 for side in sides):
        raise NotImportedError(f"{operator.name} of steps of 1 or more")
    scales = [scaling(Factor.of(float(side.scale)), Channelwise()) for side in sides]
    of = COMPARISONS[operator.name]

    def at(*values: Any) -> Any:
        left, right = (
            scale([], None, (value.astype("int32") - side.zero) << COMPARED)
            for scale, value, side in zip(scales, values, sides, strict=True)
        )
        return of(left, right)

    return [_broadcast(emitter, operator, at, operator.name.lower())]


def prelu(emitter: Emitter, operator: Operator) -> list[Any]:
    """PRELU: below its zero point, the input's steps times those of alpha (reference/prelu.h)."""
    x, alpha, to = _sides(emitter, operator)
    # in float32, as activations.cc has them
    above = scaling(Factor.of(float(x.scale / to.scale)), Channelwise())
    below = scaling(Factor.of(float(x.scale * alpha.scale / to.scale)), Channelwise())
    info = np.iinfo(to.kind)

    def at(value: Any, slope: Any) -> Any:
        steps = value.astype("int32") - x.zero
        product = below([], None, steps * (slope.astype("int32") - alpha.zero))
        whole = tirx.Select(steps >= 0, above([], None, steps), product)
        return clamped(whole + to.zero, int(info.min), int(info.max), to.kind)

    return [_broadcast(emitter, operator, at, "prelu")]


def quantize(emitter: Emitter, operator: Operator) -> list[Any]:
    """QUANTIZE: float32 to steps, halves away from zero; or steps to those of another scale."""
    x, to = emitter.given(operator, 0), emitter.rounded_output(operator)
    info = np.iinfo(to.kind)
    limits = int(info.min), int(info.max)
    if x.kind in ROUNDED:
        emitter.rounded(operator, 0)
        factor = Factor.of(float(x.scale) / float(to.scale))
        bias = np.array([-x.zero])
        value = emitter.value(operator, 0)
        return [emitter.requantized(value, to, factor, bias=bias, limits=limits)]
    if x.kind != "float32":
        raise NotImportedError(f"{operator.name}: tensor {x.name} is {x.kind}")
    scale = tirx.const(float(to.scale), "float32")
    # cut off after this is added, halves are rounded away from zero, and nothing below them is
    below_half = tirx.const(float(np.nextafter(np.float32(0.5), np.float32(0))), "float32")
    # what lies further off than this is clamped in either case, and fits an int32
    reach = tirx.const(float(2 * (limits[1] - limits[0]) + 2), "float32")

    def at(value: Any) -> Any:
        steps = tirx.Max(tirx.Min(value / scale, reach), -reach)
        half = tirx.Select(steps < tirx.const(0, "float32"), -below_half, below_half)
        return clamped((steps + half).astype("int32") + to.zero, *limits, to.kind)

    return [_each(emitter, operator, at, "quantize")]


def dequantize(emitter: Emitter, operator: Operator) -> list[Any]:
    """DEQUANTIZE: scale * (steps - zero) in float32."""
    x, to = emitter.rounded(operator, 0), emitter.made(operator)
    if to.kind != "float32":
        raise NotImportedError(f"{operator.name}: tensor {to.name} is {to.kind}")
    scale = tirx.const(float(x.scale), "float32")

    def at(value: Any) -> Any:
        return (value.astype("int32") - x.zero).astype("float32") * scale

    return [_each(emitter, operator, at, "dequantize")]


def _sides(emitter: Emitter, operator: Operator) -> tuple[Tensor, Tensor, Tensor]:
    """Both inputs and the output, all of the output's type."""
    to = emitter.rounded_output(operator)
    kinds = (to.kind,)
    return emitter.rounded(operator, 0, kinds), emitter.rounded(operator, 1, kinds), to


def _each(emitter: Emitter, operator: Operator, at: Any, name: str) -> Any:
    """A function of each value of the first input."""

    def each(x: te.Tensor) -> te.Tensor:
        return te.compute(x.shape, lambda *index: at(x[index]), name=name)

    return emitter.call(each, emitter.value(operator, 0), name=name)


def _broadcast(emitter: Emitter, operator: Operator, at: Any, name: str) -> Any:
    """A function of each two values of the first two inputs, broadcast as numpy does.

    Raises:
        NotImportedError: their shapes don't go together.
    """
    shapes = [emitter.given(operator, place).shape for place in (0, 1)]
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError as error:
        raise NotImportedError(f"{operator.name} of {shapes[0]} and {shapes[1]}") from error

    def pair(a: te.Tensor, b: te.Tensor) -> te.Tensor:
        def compute(*index: Any) -> Any:
            return at(a[_within(shapes[0], index)], b[_within(shapes[1], index)])

        return te.compute(shape, compute, name=name)

    return emitter.call(pair, emitter.value(operator, 0), emitter.value(operator, 1), name=name)


def _within(shape: tuple[int, ...], index: Sequence[Any]) -> tuple[Any, ...]:
    """Where an index of the output is in an input that is broadcast."""
    own = index[len(index) - len(shape) :]
    return tuple(0 if size == 1 else one for size, one in zip(shape, own, strict=True))


RULES: Mapping[str, Any] = {
    "ADD": addition,
    "SUB": addition,
    "MUL": multiplication,
    "MAXIMUM": extremum,
    "MINIMUM": extremum,
    "PRELU": prelu,
    **dict.fromkeys(COMPARISONS, comparison),
    "QUANTIZE": quantize,
    "DEQUANTIZE": dequantize,
}
