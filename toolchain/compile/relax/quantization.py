"""Rounding as elementwise operators.

A quantised network comes with QuantizeLinear and DequantizeLinear (QDQ) around operators of
float32. `decompose_qdq` makes these what every pass can look through; `integer_products` then
computes products of what was rounded in integers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relax
from tvm.ir.transform import Pass
from tvm.relax.expr_functor import PyExprMutator, mutator

from toolchain.compile import tvm_versions
from toolchain.compile.relax.rewriter import is_call, main_rewriting_pass


def decompose_qdq() -> Pass:
    """DecomposeQDQ: `quantize` and `dequantize` of what is computed as arithmetic, value by value.

        quantize(x)   = cast(min(max(round(x / scale) + zero, least), most))
        dequantize(q) = (float32(q) - zero) * scale

    with the limits of the integer type: ONNX's definitions of the two. The layout pass knows no
    layout of them, and would transpose each image before and after.

    Needs: Relax as imported, before the layout pass. Leaves: as they are those of constants, of
    other types than float32 with int8, uint8, int16 or uint16, and with one scale for each channel.
    """
    return main_rewriting_pass(_QDQDecomposer, name="DecomposeQDQ", opt_level=2)


def dequantized(call: Any, value: npt.NDArray[Any]) -> npt.NDArray[np.float32] | None:
    """What a call of `dequantize` gives for a constant of its input: (value - zero) * scale.

    Args:
        call: with scale and zero point of one value, or of one for each index of its axis.
        value: integers of any shape.

    Returns:
        float32 of the same shape; None where scale or zero point isn't constant.
    """
    scale, zero = (tvm_versions.constant_value(argument) for argument in call.args[1:])
    if scale is None or zero is None:
        return None
    axes = [1] * value.ndim
    if scale.size > 1 or zero.size > 1:
        axes[int(call.attrs.axis)] = -1
    difference = value.astype(np.int64) - zero.astype(np.int64).reshape(axes)
    found: npt.NDArray[np.float32] = difference.astype(np.float32) * scale.reshape(axes)
    return found


def _scalar(number: float) -> Any:
    return relax.const(np.float32(number))


@mutator
class _QDQDecomposer(PyExprMutator):  # type: ignore[misc] # TVM is untyped
    def visit_call_(self, call: Any) -> Any:
        call = super().visit_call_(call)
        if not (is_call(call, "quantize") or is_call(call, "dequantize")):
            return call
        scale, zero = (tvm_versions.constant_value(argument) for argument in call.args[1:])
        known = scale is not None and zero is not None and scale.size == zero.size == 1
        if not known or tvm_versions.constant_value(call.args[0]) is not None:
            return call
        emit, element = self.builder_.emit, str(call.attrs.out_dtype)
        types = {tvm_versions.element_type(call.args[0]), element}
        # steps that float32 holds exactly
        if "float32" not in types or not types & {"int8", "uint8", "int16", "uint16"}:
            return call
        if is_call(call, "dequantize"):
            number = emit(relax.op.astype(call.args[0], "float32"))
            shifted = emit(relax.op.subtract(number, _scalar(zero.item())))
            return relax.op.multiply(shifted, _scalar(scale.item()))
        limits = np.iinfo(element)
        steps = emit(relax.op.round(emit(relax.op.divide(call.args[0], _scalar(scale.item())))))
        shifted = emit(relax.op.add(steps, _scalar(zero.item())))
        above = emit(relax.op.maximum(shifted, _scalar(limits.min)))
        return relax.op.astype(emit(relax.op.minimum(above, _scalar(limits.max))), element)
