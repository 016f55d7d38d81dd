"""Rounding to steps by one addition, in place of a function and a conversion.

    q = cast(min(max(round(x) + zero, least), most))

takes RVV a dozen instructions for a vector: it has none that rounds a float to a whole number, and
where the rounding stands in the conversion QEMU 7.2 fails on it (`decode_save_opc: Assertion`).
The sum of x and 1.5 * 2^23 is x rounded to the nearest whole number, ties to the even one, in the
last bits of a float32, as ONNX's QuantizeLinear rounds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax, te, tirx
from tvm.ir.transform import Pass
from tvm.relax.expr_functor import PyExprMutator, mutator

from toolchain.compile import tvm_versions
from toolchain.compile.relax.rewriter import is_call, main_rewriting_pass

WHOLE = 1.5 * 2**23  # a float32 near it has no fraction, and 22 bits for a number
BITS = int(np.float32(WHOLE).view(np.int32))
FURTHEST = 1 << 21  # of a number: up to it such a sum is exact
KINDS = ("int8", "uint8", "int16", "uint16")


def round_by_addition() -> Pass:
    """RoundByAddition: what `decompose_qdq` makes of `quantize`, as one function of its quotient.

    Any shape, value by value; x is a float32, what comes out int8, uint8, int16 or uint16.

    Needs: DecomposeQDQ, then the layout pass, which knows no layout of it. Leaves: roundings of
    another form as they are.
    """
    return main_rewriting_pass(_Rounder, name="RoundByAddition", opt_level=2)


@mutator
class _Rounder(PyExprMutator):  # type: ignore[misc] # TVM is untyped
    def visit_call_(self, call: Any) -> Any:
        call = super().visit_call_(call)
        if not is_call(call, "astype") or tvm_versions.element_type(call) not in KINDS:
            return call
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
        kind = tvm_versions.element_type(call)
        return self.builder_.call_te(
            _steps, rounded.args[0], least, most, zero, kind, primfunc_name_hint="quantize"
        )

    def _bound(self, expression: Any) -> Any:
        return self.lookup_binding(expression) if isinstance(expression, relax.Var) else expression


def _steps(x: te.Tensor, least: int, most: int, zero: int, kind: str) -> te.Tensor:
    def number(value: float) -> Any:
        return tirx.const(value, "float32")

    def at(*index: Any) -> Any:
        inside = tirx.Min(tirx.Max(x[index], number(least - zero)), number(most - zero))
        bits = tirx.reinterpret("int32", inside + number(WHOLE))
        return (bits + tirx.const(zero - BITS, "int32")).astype(kind)

    return te.compute(x.shape, at, name="quantize")
