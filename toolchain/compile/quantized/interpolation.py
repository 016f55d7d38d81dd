"""Functions of int16: a table of their values at some places, and lines between these.

LOGISTIC and TANH have one table of all scales (kernels/internal/reference/integer_ops/logistic.h
and tanh.h), SOFTMAX has two (kernels/internal/reference/softmax.h), EXP and LOG one of
their scales. Every product here stays below 2 ** 31.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relax, te, tirx

from toolchain.compile.quantized.emitter import Emitter
from toolchain.compile.quantized.fixed_point import Channelwise, Factor, scaling
from toolchain.formats.rounding.tflite_network import NotImportedError, Operator, Tensor

SHORT = ("int16",)
LEAST, MOST = -(1 << 15), (1 << 15) - 1
RANGE = MOST - LEAST
PARTS = 512  # of a table's range
LONGEST = 1 << 16  # values of a row whose shares of 2 ** 15 are summed in 31 bits
FAR = 2.0**20  # steps: further off than any that is clamped
POINTS = 256  # of the table of the logistic function
BITS = 15  # of what a logistic's input is multiplied by
NEAR_POWER = np.float32(1e-3)  # between a scale's binary logarithm and a whole number
LARGEST = 1 << 16  # of the same, so that products stay below 2 ** 31
Reals = npt.NDArray[Any]


def logistic(emitter: Emitter, operator: Operator) -> list[Any]:
    """LOGISTIC."""

    def between(size: Any, table: te.Tensor, is_negative: Any) -> Any:
        near = _line(size, 9, table, 0x7FFF << 10)
        return tirx.Select(is_negative, (1 << 25) - near + 511, near + 512) >> tirx.const(
            10, "int32"
        )

    return _by_logistic(emitter, operator, between)


def hyperbolic_tangent(emitter: Emitter, operator: Operator) -> list[Any]:
    """TANH, which is twice the logistic function of twice the number, less 1."""

    def between(size: Any, table: te.Tensor, is_negative: Any) -> Any:
        beyond = _line(size, 8, table, 0xFFFF << 8) - (1 << 23)
        return tirx.Select(is_negative, 127 - beyond, beyond + 128) >> tirx.const(8, "int32")

    return _by_logistic(emitter, operator, between)


def by_table(of: Callable[[Reals], Reals]) -> Callable[[Emitter, Operator], list[Any]]:
    """The rule of an operator that has a table of its own scales."""

    def rule(emitter: Emitter, operator: Operator) -> list[Any]:
        x, to = emitter.rounded(operator, 0, SHORT), emitter.rounded_output(operator, SHORT)
        table = relax.const(_table((x.scale, x.zero), (to.scale, to.zero), of, np.float32))

        def look_up(x: te.Tensor, table: te.Tensor) -> te.Tensor:
            return te.compute(x.shape, lambda *at: _taken(table, x[at].astype("int32"), "int16"))

        name = operator.name.lower()
        return [emitter.call(look_up, emitter.value(operator, 0), table, name=name)]

    return rule


def softmax(emitter: Emitter, operator: Operator) -> list[Any]:
    """SOFTMAX over the last axis."""
    x, to = emitter.rounded(operator, 0, SHORT), emitter.rounded_output(operator, SHORT)
    if x.shape[-1] >= LONGEST:
        raise NotImportedError(f"{operator.name} of {x.shape[-1]} values of int16")
    channelwise, share = Channelwise(), 10 / RANGE
    scale = scaling(Factor.of(float(x.scale * np.float32(operator.real(0))) / share), channelwise)
    powers = relax.const(_table((share, MOST), (2 / RANGE, 0), np.exp, np.float64))
    inverses = relax.const(
        _table((1 / RANGE, LEAST), (2 / RANGE, 0), lambda reals: 1 / (1 + reals), np.float64)
    )

    def exponentials(wide: te.Tensor, most: te.Tensor, table: te.Tensor) -> te.Tensor:
        def at(*index: Any) -> Any:
            below = scale([], index[-1], wide[index] - most[(*index[:-1], 0)])
            return _taken(table, _clamped(below + MOST), "int32")

        return te.compute(wide.shape, at, name="exponential")

    def reciprocals(total: te.Tensor, table: te.Tensor) -> te.Tensor:
        """1 / (1 + x), where a sum is 1 + x times the power of two below it."""

        def at(*index: Any) -> Any:
            filled = total[index] << (30 - _magnitude(total[index]))
            above = ((filled >> tirx.const(13, "int32")) + 1) >> tirx.const(1, "int32")
            return _taken(table, _clamped(above - (1 << 15) - (1 << 16)), "int32")

        return te.compute(total.shape, at, name="reciprocal")

    def shares(powers: te.Tensor, total: te.Tensor, inverse: te.Tensor) -> te.Tensor:
        def at(*index: Any) -> Any:
            row = (*index[:-1], 0)
            right = _magnitude(total[row])
            whole = powers[index] * inverse[row] + (tirx.const(1, "int32") << (right - 1))
            return tirx.Min(tirx.Max(whole >> right, 0), MOST).astype(to.kind)

        return te.compute(powers.shape, at, name="share")

    wide = emitter.emit(relax.op.astype(emitter.value(operator, 0), "int32"))
    most = emitter.emit(relax.op.max(wide, axis=-1, keepdims=True))
    raised = emitter.call(exponentials, wide, most, powers, name="exponential")
    total = emitter.emit(relax.op.sum(raised, axis=-1, keepdims=True))
    inverse = emitter.call(reciprocals, total, inverses, name="reciprocal")
    return [emitter.call(shares, raised, total, inverse, name="share")]


def _by_logistic(
    emitter: Emitter, operator: Operator, between: Callable[[Any, te.Tensor, Any], Any]
) -> list[Any]:
    """A function of the logistic's table."""
    x, to = emitter.rounded(operator, 0, SHORT), emitter.rounded_output(operator, SHORT)
    multiplier, right = _of_thirds(operator, x)
    table = relax.const(logistic_points())
    half = (1 << right) >> 1

    def look_up(x: te.Tensor, table: te.Tensor) -> te.Tensor:
        def at(*index: Any) -> Any:
            number = (x[index].astype("int32") * multiplier + half) >> tirx.const(right, "int32")
            size, is_negative = tirx.Max(number, -number), number < 0
            return between(size, table, is_negative).astype(to.kind)

        return te.compute(x.shape, at)

    name = operator.name.lower()
    return [emitter.call(look_up, emitter.value(operator, 0), table, name=name)]


def logistic_points() -> npt.NDArray[np.int32]:
    """The logistic function of i / 24 in 16 bits: sigmoid_table_uint16 of common.h.

    Half of what a line between two points is off in its middle is added; the last is the end.
    """
    reals, middles = (65536 / (1 + np.exp(-(np.arange(POINTS) + by) / 24)) for by in (0, 0.5))
    bent = middles - (reals + np.append(reals[1:], RANGE + 1)) / 2
    points: npt.NDArray[np.int32] = np.rint(reals + bent / 2).astype(np.int32)
    points[-1] = RANGE
    return points


def _of_thirds(operator: Operator, x: Tensor) -> tuple[int, int]:
    """What makes steps of 1 / (3 * 4096) of an input's: a product, then a shift to the right.

    SigmoidPrepare and TanhPrepare of kernels/activations.cc, with CheckedLog2 of
    kernels/internal/quantization_util.cc: a scale that near to a power of two is taken as one.
    """
    logarithm = np.log(x.scale) * (np.float32(1) / np.log(np.float32(2)))
    exponent = int(np.rint(logarithm))
    is_power = abs(logarithm - np.float32(exponent)) < NEAR_POWER
    left = exponent + 12
    if is_power and left in ((0, 1) if operator.name == "TANH" else (0,)):
        return 3 << left, 0
    multiplier, right = float(x.scale) * 4096 * 3, 0
    while multiplier <= MOST / 2 and right <= 2 * BITS:
        multiplier, right = multiplier * 2, right + 1
    if multiplier >= LARGEST:
        raise NotImportedError(f"{operator.name}: tensor {x.name} of int16 has scale {x.scale}")
    return int(multiplier), right


def _line(size: Any, bits: int, table: te.Tensor, last: int) -> Any:
    """Between two points of the logistic's table; `last` where there is no second."""
    place = tirx.Min(size >> tirx.const(bits, "int32"), POINTS - 2)
    part = size & ((1 << bits) - 1)
    inside = (table[place] << bits) + part * (table[place + 1] - table[place])
    is_beyond = (size >> tirx.const(bits, "int32")) >= POINTS - 1
    return tirx.Select(is_beyond, tirx.const(last, "int32"), inside)


def _table(
    given: tuple[Any, int],
    made: tuple[Any, int],
    of: Callable[[Reals], Reals],
    kind: type[np.floating[Any]],
) -> npt.NDArray[np.int32]:
    """513 numbers of a function; LUTPopulateInt16 of kernels/internal/common.h.

    Args:
        given: scale and zero point of what it is a function of.
        made: the same of what it gives.
        of: the function.
        kind: in which it is computed.
    """
    one = kind(1)
    low, high = (one * given[0] * (end - given[1]) for end in (LEAST, MOST))
    least, most = (one * made[0] * (end - made[1]) for end in (LEAST, MOST))
    step, inverse = (high - low) / kind(PARTS), kind(RANGE + 1) / (most - least)
    starts = low + np.arange(PARTS).astype(kind) * step
    ends = low + np.arange(1, PARTS + 1).astype(kind) * step
    with np.errstate(over="ignore", divide="ignore"):  # what is too large is clamped
        points = starts, starts + step / 2, ends
        values = [np.clip(of(reals) * inverse, -FAR, FAR) for reals in points]
        at, middle = _halves_away(values[0]), _halves_away(values[1])
        bent = _halves_away((values[2] + at) / 2) - middle
        last = _halves_away(values[2][-1:])
        table = np.concatenate([at - _halves_away(bent / 2), last])
    stored: npt.NDArray[np.int32] = np.clip(table, LEAST, MOST).astype(np.int32)
    return stored


def _halves_away(reals: Reals) -> Reals:
    rounded: Reals = np.copysign(np.floor(np.abs(reals) + 0.5), reals)
    return rounded


def _taken(table: te.Tensor, number: Any, kind: str) -> Any:
    """A number of int16 by a table of 513 and the line between two; LUTLookup of common.h."""
    place = PARTS // 2 + (number >> tirx.const(7, "int32"))
    slope = table[place + 1] - table[place]
    return (table[place] + ((slope * (number & 127) + 64) >> tirx.const(7, "int32"))).astype(kind)


def _clamped(number: Any) -> Any:
    return tirx.Min(tirx.Max(number, LEAST), MOST)


def _magnitude(number: Any) -> Any:
    """The exponent of the power of two that is not above a number of 15 to 31 bits."""
    found = tirx.const(13, "int32")
    for bit in range(14, 31):
        found = found + (number >= (1 << bit)).astype("int32")
    return found
