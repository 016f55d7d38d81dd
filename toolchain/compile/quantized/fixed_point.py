"""TensorFlow Lite's fixed-point arithmetic, for numpy and for loops.

A real factor above 0 is `multiplier * 2 ** (shift - 31)` with a multiplier of 31 bits. A product by
it rounds twice (MultiplyByQuantizedMultiplier of kernels/internal/common.h, and gemmlowp's
fixedpoint.h):

    high(a)     = floor((a * 2 ** left * multiplier + 2 ** 30) / 2 ** 31)    # ties up
    scaled(a)   = high(a) / 2 ** right, ties away from zero

with `left` the shift where it is above 0, and `right` what it is below. Sums of 64 bits, as those
of int16 networks, are multiplied by the multiplier's upper 15 bits and rounded once, ties up. Dense
layers round once too, by the whole multiplier: found by comparing, in TensorFlow 2.21's kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relax, te, tirx

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Factor:
    """Real factors in fixed point, one for all or one a channel; both int64 of one length."""

    multiplier: Integers
    shift: Integers

    @classmethod
    def of(cls, real: npt.NDArray[np.float64] | float) -> Factor:
        """QuantizeMultiplier of kernels/internal/quantization_util.cc.

        Args:
            real: 0 or above.
        """
        mantissa, exponent = np.frexp(np.atleast_1d(np.asarray(real, np.float64)))
        # as C's round: halves away from zero
        multiplier = np.floor(mantissa * 2.0**31 + 0.5).astype(np.int64)
        shift = exponent.astype(np.int64)
        carried = multiplier == 1 << 31
        multiplier, shift = np.where(carried, 1 << 30, multiplier), shift + carried
        small = shift < -31
        return cls(multiplier=np.where(small, 0, multiplier), shift=np.where(small, 0, shift))


def scaled(values: Integers, factor: Factor) -> Integers:
    """Integers of any shape times a factor for all of them."""
    left, right = max(int(factor.shift[0]), 0), max(-int(factor.shift[0]), 0)
    high = ((values << left) * int(factor.multiplier[0]) + (1 << 30)) >> 31
    if not right:
        return high
    return (high + (1 << (right - 1)) - (high < 0)) >> right


class Channelwise:
    """Integers of a loop, one for all or one an index of the last axis.

    Those that are all the same become numbers in the code, the others arguments of the function.
    """

    def __init__(self) -> None:
        self.constants: list[Any] = []

    def __call__(self, values: npt.NDArray[Any], kind: str) -> Callable[[list[Any], Any], Any]:
        """How a loop reads values, given the function's tables and the index."""
        if values.size == 1 or (values == values[0]).all():
            number = tirx.const(int(values[0]), kind)
            return lambda _tables, _index: number
        place = len(self.constants)
        self.constants.append(relax.const(values.astype(kind), kind))
        return lambda tables, index: tables[place][index]


Scale = Callable[[list[Any], Any, Any], Any]


def scaling(factor: Factor, channelwise: Channelwise) -> Scale:
    """How a loop multiplies an int32: given tables, the last axis's index, and the number."""
    left, right = np.maximum(factor.shift, 0), np.maximum(-factor.shift, 0)
    up = channelwise(left, "int32") if left.any() else None
    multiplier = channelwise(factor.multiplier, "int32")
    down = channelwise(right, "int32") if right.any() else None
    half = channelwise((1 << right) >> 1, "int32")
    # where nothing is shifted there is no half to round
    rounds = channelwise(np.minimum(right, 1), "int32")

    def scale(tables: list[Any], index: Any, number: Any) -> Any:
        shifted = number << up(tables, index) if up else number
        wide = shifted.astype("int64") * multiplier(tables, index).astype("int64")
        high = ((wide + tirx.const(1 << 30, "int64")) >> tirx.const(31, "int64")).astype("int32")
        if down is None:
            return high
        negative = (high >> tirx.const(31, "int32")) & rounds(tables, index)
        return (high + half(tables, index) - negative) >> down(tables, index)

    return scale


def long_scaling(factor: Factor, channelwise: Channelwise) -> Scale:
    """The same of an int64, which MultiplyByQuantizedMultiplier has a form of its own for."""
    reduced = np.where(
        factor.multiplier < 0x7FFF0000, (factor.multiplier + (1 << 15)) >> 16, 0x7FFF
    )
    return _rounded_once(reduced, 15 - factor.shift, channelwise)


def single_scaling(factor: Factor, channelwise: Channelwise) -> Scale:
    """The same, rounded once: of numbers whose product by the multiplier fits 63 bits."""
    return _rounded_once(factor.multiplier, 31 - factor.shift, channelwise)


def _rounded_once(multiplier: Integers, bits: Integers, channelwise: Channelwise) -> Scale:
    """(number * multiplier + 2 ** (bits - 1)) >> bits, in 64 bits; bits above 0."""
    by, right = channelwise(multiplier, "int64"), channelwise(bits - 1, "int64")
    one = tirx.const(1, "int64")

    def scale(tables: list[Any], index: Any, number: Any) -> Any:
        wide = number.astype("int64") * by(tables, index)
        return (((wide >> right(tables, index)) + one) >> one).astype("int32")

    return scale


def clamped(value: Any, least: int, most: int, kind: str) -> Any:
    """An int32 of a loop within limits, as an integer of a kind."""
    low, high = tirx.const(least, "int32"), tirx.const(most, "int32")
    return tirx.Min(tirx.Max(value, low), high).astype(kind)


def elementwise(x: te.Tensor, name: str, at: Callable[..., Any]) -> te.Tensor:
    """A tensor of the same shape, value by value."""
    return te.compute(x.shape, at, name=name)
