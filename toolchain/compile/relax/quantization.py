"""Quantised networks: rounding as elementwise operators, and products of integers.

A quantised network comes with QuantizeLinear and DequantizeLinear (QDQ) around operators of
float32. `decompose_qdq` makes these what every pass can look through. Where the target has an
instruction for it, `fake_quantization_to_integer` (Relay's name for the same) computes a
convolution or matrix product of int8 by int8 in int32:

    sum (sx (x - zx)) (sw w)  =  sx sw (sum x w  -  zx sum w)

with scale sx and zero point zx of the input, and sw of the weights, one for all or one a channel
(Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference, 2018, section 2.3). What follows stays float32, as the network has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax, te, topi
from tvm.ir.transform import Pass
from tvm.relax.expr_functor import PyExprMutator, mutator

from toolchain.compile import tvm_versions
from toolchain.compile.relax.rewriter import is_call, main_rewriting_pass
from toolchain.compile.tir.dot_product import DEPTH
from toolchain.targets.instruction_sets import DotProduct

Integers = npt.NDArray[np.int8]
Scales = npt.NDArray[np.float32]


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


def fake_quantization_to_integer(dot: DotProduct) -> Pass:
    """FakeQuantizationToInteger: products of two dequantised int8 tensors as sums in int32.

    A `nn.conv2d` of one group, x [N, H, W, C] by w [R, S, C, K], or a `matmul`, x [..., C] by
    w [C, K], becomes a function over the steps of x and w packed as [R, S, C / 4, K, 4] or
    [C / 4, K, 4], C filled up with zeros to a multiple of 4; then the correction and the scale of
    the formula above, in float32. It is taken where K divides by `dot.lanes`, C is above 2, x has
    one scale and zero point, and w is constant with zero point 0.

    Needs: DecomposeQDQ, then the layout pass (a convolution in another layout is left alone), and
    weights that are not folded yet. Leaves: float32 operators where it does not fit.

    Args:
        dot: the target's instruction.
    """
    return main_rewriting_pass(
        lambda module: _IntegerProducts(module, dot), name="FakeQuantizationToInteger", opt_level=3
    )


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


@dataclass(frozen=True, kw_only=True)
class _Input:
    """Rounded numbers as they are computed: scale times (steps minus zero)."""

    steps: Any
    scale: float
    zero: int


@dataclass(frozen=True, kw_only=True)
class _Weights:
    """Constant weights, output channels last: scale, one for all or one a channel, times steps."""

    steps: Integers
    scale: Scales


@mutator
class _IntegerProducts(PyExprMutator):  # type: ignore[misc] # TVM is untyped
    def __init__(self, module: tvm.IRModule, dot: DotProduct) -> None:
        super().__init__(module)
        self._dot = dot

    def visit_call_(self, call: Any) -> Any:
        call = super().visit_call_(call)
        convolution = is_call(call, "nn.conv2d") and int(call.attrs.groups) == 1
        if convolution and str(call.attrs.data_layout) != "NHWC":
            return call
        if not convolution and not is_call(call, "matmul"):
            return call
        x, w = self._input(call.args[0]), self._weights(call.args[1])
        if x is None or w is None or w.steps.ndim != (4 if convolution else 2):
            return call
        *_, depth, columns = w.steps.shape
        # fewer inputs would leave most of an instruction to zeros
        if depth <= DEPTH // 2 or columns % self._dot.lanes:
            return call
        sums = self._sums(call, x, w, convolution)
        emit = self.builder_.emit
        correction = x.zero * w.steps.astype(np.int64).sum(axis=tuple(range(w.steps.ndim - 1)))
        exact = emit(relax.op.subtract(sums, relax.const(correction.astype(np.int32))))
        scale = (w.scale * np.float32(x.scale)).astype(np.float32)
        return relax.op.multiply(emit(relax.op.astype(exact, "float32")), relax.const(scale))

    def _sums(self, call: Any, x: _Input, w: _Weights, convolution: bool) -> Any:
        emit = self.builder_.emit
        by_four = relax.const(packed(w.steps))
        if not convolution:
            return emit(
                self.builder_.call_te(dot_dense, x.steps, by_four, primfunc_name_hint="dense_int8")
            )
        top, left, bottom, right = [int(p) for p in call.attrs.padding]
        return emit(
            self.builder_.call_te(
                dot_conv2d,
                x.steps,
                by_four,
                ((0, top, left, 0), (0, bottom, right, 0)),
                x.zero,
                [int(s) for s in call.attrs.strides],
                [int(d) for d in call.attrs.dilation],
                primfunc_name_hint="conv2d_int8",
            )
        )

    def _input(self, expression: Any) -> _Input | None:
        """The steps behind a product's input, as `decompose_qdq` writes it, transposed or not."""
        product, order = self._untransposed(expression)
        if not is_call(product, "multiply"):
            return None
        difference = self._bound(product.args[0])
        if not is_call(difference, "subtract"):
            return None
        number = self._bound(difference.args[0])
        scale, zero = (
            tvm_versions.constant_value(product.args[1]),
            tvm_versions.constant_value(difference.args[1]),
        )
        if not is_call(number, "astype") or scale is None or zero is None:
            return None
        steps = number.args[0]
        if scale.size != 1 or zero.size != 1 or tvm_versions.element_type(steps) != "int8":
            return None
        if order is not None:
            steps = self.builder_.emit(relax.op.permute_dims(steps, order))
        return _Input(steps=steps, scale=scale.item(), zero=int(zero.item()))

    def _weights(self, expression: Any) -> _Weights | None:
        """Constant int8 steps of weights, transposed or not."""
        made, order = self._untransposed(expression)
        if not is_call(made, "dequantize"):
            return None
        steps, scale, zero = (tvm_versions.constant_value(argument) for argument in made.args)
        if steps is None or scale is None or zero is None or zero.any() or steps.dtype != np.int8:
            return None
        axis = int(made.attrs.axis)
        if order is not None:
            steps, axis = steps.transpose(order), order.index(axis)
        if scale.size != 1 and axis != steps.ndim - 1:
            return None
        return _Weights(steps=steps, scale=scale.reshape(-1))

    def _untransposed(self, expression: Any) -> tuple[Any, list[int] | None]:
        """What a transposition turns, and its order of axes; None where there is none."""
        made = self._bound(expression)
        if not is_call(made, "permute_dims") or made.attrs.axes is None:
            return made, None
        return self._bound(made.args[0]), [int(axis) for axis in made.attrs.axes]

    def _bound(self, expression: Any) -> Any:
        return self.lookup_binding(expression) if isinstance(expression, relax.Var) else expression


def packed(steps: Integers) -> Integers:
    """[..., inputs, outputs] as [..., inputs / 4, outputs, 4], filled up with zeros."""
    *window, inputs, outputs = steps.shape
    missing = -inputs % DEPTH
    whole = np.pad(steps, [(0, 0)] * len(window) + [(0, missing), (0, 0)])
    split = whole.reshape(*window, -1, DEPTH, outputs)
    return np.ascontiguousarray(np.swapaxes(split, -1, -2))


def dot_conv2d(
    x: te.Tensor,
    w: te.Tensor,
    pads: tuple[tuple[int, ...], tuple[int, ...]],
    zero: int,
    strides: list[int],
    dilation: list[int],
) -> te.Tensor:
    """int32 sums of a convolution: x [N, H, W, C] int8, w [R, S, C / 4, K, 4] int8."""
    batch, height, width, channels = (int(size) for size in x.shape)
    rows, columns, steps, outputs, _ = (int(size) for size in w.shape)
    (_, top, left, _), (_, bottom, right, _) = pads
    behind = steps * DEPTH - channels
    if any((top, left, bottom, right, behind)):
        fill = tvm.tirx.const(zero, "int8")
        x = topi.nn.pad(x, (0, top, left, 0), (0, bottom, right, behind), fill)
    high = (height + top + bottom - dilation[0] * (rows - 1) - 1) // strides[0] + 1
    wide = (width + left + right - dilation[1] * (columns - 1) - 1) // strides[1] + 1
    r, s = te.reduce_axis((0, rows), "r"), te.reduce_axis((0, columns), "s")
    c, k = te.reduce_axis((0, steps), "c"), te.reduce_axis((0, DEPTH), "k")

    def at(n: Any, i: Any, j: Any, o: Any) -> Any:
        down, across = i * strides[0] + r * dilation[0], j * strides[1] + s * dilation[1]
        left = x[n, down, across, c * DEPTH + k].astype("int32")
        return te.sum(left * w[r, s, c, o, k].astype("int32"), axis=[r, s, c, k])

    return te.compute((batch, high, wide, outputs), at, name="conv2d_int8")


def dot_dense(x: te.Tensor, w: te.Tensor) -> te.Tensor:
    """int32 sums of a matrix product: x [..., C] int8, w [C / 4, K, 4] int8."""
    *outer, inputs = (int(size) for size in x.shape)
    steps, outputs, _ = (int(size) for size in w.shape)
    behind = steps * DEPTH - inputs
    if behind:
        none = [0] * len(outer)
        x = topi.nn.pad(x, [*none, 0], [*none, behind], tvm.tirx.const(0, "int8"))
    c, k = te.reduce_axis((0, steps), "c"), te.reduce_axis((0, DEPTH), "k")

    def at(*indices: Any) -> Any:
        left = x[(*indices[:-1], c * DEPTH + k)].astype("int32")
        return te.sum(left * w[c, indices[-1], k].astype("int32"), axis=[c, k])

    return te.compute((*outer, outputs), at, name="dense_int8")
