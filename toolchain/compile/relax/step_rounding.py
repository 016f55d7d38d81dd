"""Rounding to steps by one addition, in place of a function and a conversion.

    q = cast(min(max(round(x) + zero, least), most))

takes RVV a dozen instructions for a vector: it has none that rounds a float to a whole number, and
where the rounding stands in the conversion QEMU 7.2 fails on it (`decode_save_opc: Assertion`).
The sum of x and 1.5 * 2^23 is x rounded to the nearest whole number, ties to the even one, in the
last bits of a float32, as ONNX's QuantizeLinear rounds. Where the steps are read as numbers again,
less their zero point, the same addition is taken back: no integer is made of them in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import relax, te, tirx
from tvm.ir.transform import Pass
from tvm.relax.expr_functor import PyExprMutator, mutator

from toolchain.compile import tvm_versions
from toolchain.compile.relax.rewriter import is_call, main_rewriting_pass

WHOLE = 1.5 * 2**23  # a float32 near it has no fraction, and 22 bits for a number
BITS = int(np.float32(WHOLE).view(np.int32))
FURTHEST = 1 << 21  # of a number: up to it such a sum is exact
KINDS = ("int8", "uint8", "int16", "uint16")


@dataclass(frozen=True, kw_only=True)
class Steps:
    """The limits of some steps, and which of them is 0."""

    least: int
    most: int
    zero: int

    def of(self, x: te.Tensor, kind: str) -> te.Tensor:
        """The steps of float32, as integers of a kind."""

        def at(*index: Any) -> Any:
            bits = tirx.reinterpret("int32", self._near_whole(x[index]))
            return (bits + tirx.const(self.zero - BITS, "int32")).astype(kind)

        return te.compute(x.shape, at, name="quantize")

    def less_zero(self, x: te.Tensor) -> te.Tensor:
        """The same less the zero point, as float32."""

        def at(*index: Any) -> Any:
            # TVM makes x of x + WHOLE - WHOLE where it sees that it is that
            bits = tirx.reinterpret("int32", self._near_whole(x[index]))
            return tirx.reinterpret("float32", bits) - _number(WHOLE)

        return te.compute(x.shape, at, name="whole")

    def _near_whole(self, number: Any) -> Any:
        """A number between the limits, less the zero point, and WHOLE: rounded in its last bits."""
        above = tirx.Max(number, _number(self.least - self.zero))
        return tirx.Min(above, _number(self.most - self.zero)) + _number(WHOLE)


def _number(value: float) -> Any:
    return tirx.const(value, "float32")


def round_by_addition() -> Pass:
    """RoundByAddition: what `decompose_qdq` makes of `quantize`, as one function of its quotient.

    Any shape, value by value; x is a float32, what comes out int8, uint8, int16 or uint16; or
    float32, where `dequantize` of the same zero point follows.

    Needs: DecomposeQDQ, then the layout pass, which knows no layout of it. Leaves: roundings of
    another form as they are.
    """
    return main_rewriting_pass(_Rounder, name="RoundByAddition", opt_level=2)


@mutator
class _Rounder(PyExprMutator):  # type: ignore[misc] # TVM is untyped
    def __init__(self, module: tvm.IRModule) -> None:
        super().__init__(module)
        self.made: dict[str, Steps] = {}  # by the name of the function that rounds to them

    def visit_call_(self, call: Any) -> Any:
        call = super().visit_call_(call)
        if is_call(call, "subtract"):
            return self._read_again(call)
        rounds = is_call(call, "astype") and tvm_versions.element_type(call) in KINDS
        return self._rounded(call) if rounds else call

    def _rounded(self, call: Any) -> Any:
        numbers: list[int] = []
        inner = call.args[0]
        for name in ("minimum", "maximum", "add"):
            inner = self._bound(inner)
            if not is_call(inner, name):
                return call
            number = tvm_versions.constant_value(inner.args[1])
            if number is None or number.size != 1 or not abs(number.item()) <= FURTHEST:
                return call
            if number.item() != int(number.item()):
                return call
            numbers.append(int(number.item()))
            inner = inner.args[0]
        rounded = self._bound(inner)
        if not is_call(rounded, "round") or tvm_versions.element_type(rounded) != "float32":
            return call
        most, least, zero = numbers
        kind, steps = tvm_versions.element_type(call), Steps(least=least, most=most, zero=zero)
        made = self.builder_.call_te(steps.of, rounded.args[0], kind, primfunc_name_hint="quantize")
        self.made[made.args[0].name_hint] = steps
        return made

    def _read_again(self, difference: Any) -> Any:
        """What a difference from steps, as float32, comes to without integers."""
        number = self._bound(difference.args[0])
        if not is_call(number, "astype") or tvm_versions.element_type(number) != "float32":
            return difference
        rounding = self._bound(number.args[0])
        if not is_call(rounding, "call_tir"):
            return difference
        steps = self.made.get(rounding.args[0].name_hint)
        zero = tvm_versions.constant_value(difference.args[1])
        if steps is None or zero is None or zero.size != 1 or zero.item() != steps.zero:
            return difference
        (x,) = rounding.args[1].fields
        return self.builder_.call_te(steps.less_zero, x, primfunc_name_hint="whole")

    def _bound(self, expression: Any) -> Any:
        return self.lookup_binding(expression) if isinstance(expression, relax.Var) else expression
