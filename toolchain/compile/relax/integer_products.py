"""Products of what was rounded, in integers: the layers of a QDQ graph, and ConvInteger's.

A layer of a QDQ graph multiplies dequantised steps by dequantised weights:

    sum (sx (x - zx)) (sw w)  =  sx sw (sum x w  -  zx sum w)

with scale sx and zero point zx of the input, and sw of the weights, one for all or one a channel
(Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference, 2018, section 2.3). `fake_quantization_to_integer` (Relay's name for it) adds the
products exactly, as a quantised .tflite's are added: in float32 where every partial sum is a whole
number that float32 holds, else in int32, or by the target's instruction for products of int8. The
sum is then a float32 times sx sw, and what follows stays float32, value by value in the same
function, up to the rounding that ends it: ONNX defines all of it so, and no step differs but where
a sum in float32 would have been rounded to the other side of a half.

ConvInteger and MatMulInteger, whose inputs were rounded as they came, are sums of int32 already:
they are added in the same way, and their weights stay int8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax
from tvm.ir.transform import Pass
from tvm.relax.expr_functor import PyExprMutator, mutator

from toolchain.compile import tvm_versions
from toolchain.compile.relax import integer_sums
from toolchain.compile.relax.rewriter import is_call, main_rewriting_pass
from toolchain.compile.tir.dot_product import DEPTH
from toolchain.targets.instruction_sets import DotProduct

Steps = npt.NDArray[np.int16]
Scales = npt.NDArray[np.float32]
BYTES = ("int8", "uint8")
LONG = 1 << 31  # sums beyond it need 64 bits
FURTHEST = 255 + 128  # between two numbers, each of int8 or uint8
HALF = 128  # from steps of uint8 to those of int8
# Operators that move values and change none; the first input is what they move.
MOVES = ("permute_dims", "reshape", "squeeze", "expand_dims", "flatten")


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """In what a target adds products of integers.

    Attributes:
        dot: its instruction for sums of products of int8, if any is to be used.
        widens: whether its int8 become float32 as they are loaded; where they don't, weights of
            what is added in float32 are float32 in the library.
        short: whether one instruction adds products of int16 to int32; then sums are int32.
    """

    dot: DotProduct | None = None
    widens: bool = True
    short: bool = False


def fake_quantization_to_integer(arithmetic: Arithmetic) -> Pass:
    """FakeQuantizationToInteger: products of rounded inputs and constant weights as exact sums.

    A `nn.conv2d`, x [N, H, W, C] by w [R, S, C / groups, K], or a `matmul`, x [..., C] by w [C, K],
    of float32 whose operands are dequantised int8 or uint8, or of int32 whose input has at most 9
    bits and whose weights are constant. x has one scale and zero point; w one for all or one for
    each of K. By `dot` it is where K divides by its lanes, C is above 2 and there is one group.

    Needs: DecomposeQDQ, then the layout pass (a convolution in another layout is left alone), and
    weights that are not folded yet. Leaves: float32 operators where it does not fit.
    """
    return main_rewriting_pass(
        lambda module: _IntegerProducts(module, arithmetic),
        name="FakeQuantizationToInteger",
        opt_level=2,
    )


@dataclass(frozen=True, kw_only=True)
class _Input:
    """Rounded numbers as they are computed: scale times (steps minus zero).

    Attributes:
        furthest: no step is further from zero.
    """

    steps: Any
    scale: float
    zero: int
    furthest: int


@dataclass(frozen=True, kw_only=True)
class _Weights:
    """Constant weights [..., K]: scale, one for all or one a channel, times steps."""

    steps: Steps
    scale: Scales

    def largest(self, x: _Input) -> int:
        """What no sum of them over steps of an input can exceed."""
        axes = tuple(range(self.steps.ndim - 1))
        sums = np.abs(self.steps.astype(np.int64)).sum(axis=axes)
        return int(sums.max(initial=0)) * x.furthest

    @property
    def fit_a_byte(self) -> bool:
        """Whether the steps are int8, whatever they were less their zero point."""
        info = np.iinfo(np.int8)
        return bool(self.steps.min() >= info.min and self.steps.max() <= info.max)


@dataclass(frozen=True, kw_only=True)
class _Layer:
    """A product: a convolution where it has strides.

    Attributes:
        pads: top, left, bottom, right.
    """

    groups: int = 1
    strides: list[int] = field(default_factory=list)
    dilation: list[int] = field(default_factory=list)
    pads: list[int] = field(default_factory=list)

    @property
    def rank(self) -> int:
        """Axes of the weights."""
        return 4 if self.strides else 2


@mutator
class _IntegerProducts(PyExprMutator):  # type: ignore[misc] # TVM is untyped
    def __init__(self, module: tvm.IRModule, arithmetic: Arithmetic) -> None:
        super().__init__(module)
        self._by = arithmetic

    def visit_call_(self, call: Any) -> Any:
        call = super().visit_call_(call)
        layer = _layer(call)
        if layer is None:
            return call
        kind = tvm_versions.element_type(call)
        whole = kind == "int32"
        if whole:
            x, w = self._whole_input(call.args[0]), self._whole_weights(call.args[1])
        elif kind == "float32":
            x, w = self._input(call.args[0]), self._weights(call.args[1])
        else:
            return call
        if x is None or w is None or w.steps.ndim != layer.rank or not w.steps.size:
            return call
        if w.largest(x) >= LONG or not _known(x.steps):
            return call
        sums = self._sums(layer, x, w)
        if whole:
            return relax.op.astype(sums, "int32")
        scale = (w.scale * np.float32(x.scale)).astype(np.float32)
        return relax.op.multiply(self._emit(relax.op.astype(sums, "float32")), relax.const(scale))

    def _emit(self, expression: Any) -> Any:
        return self.builder_.emit(expression)

    def _sums(self, layer: _Layer, x: _Input, w: _Weights) -> Any:
        """The exact sums of products, whatever their type."""
        dot = self._by.dot
        *_, depth, columns = w.steps.shape
        # fewer inputs would leave most of an instruction to zeros
        wide_enough = depth > DEPTH // 2 and layer.groups == 1
        bytes_both = w.fit_a_byte and tvm_versions.element_type(x.steps) in BYTES
        if dot and wide_enough and bytes_both and not columns % dot.lanes:
            return self._by_dot(layer, x, w)
        short = self._by.short
        kind = "float32" if not short and w.largest(x) < integer_sums.EXACT else "int32"
        of = "int16" if short else kind
        centred = self._centred(x, of)
        if layer.strides:
            return self._convolved(layer, centred, w, of, kind)
        held = _stored(w.steps, of, whole=self._by.widens or short)
        *outer, inputs = tvm_versions.shape(centred)
        flat = self._emit(relax.op.reshape(centred, (math.prod(outer), inputs)))
        made = self.builder_.call_te(
            integer_sums.dense, flat, held, kind, primfunc_name_hint="dense"
        )
        return self._emit(relax.op.reshape(self._emit(made), (*outer, columns)))

    def _convolved(self, layer: _Layer, image: Any, w: _Weights, of: str, kind: str) -> Any:
        top, left, bottom, right = layer.pads
        if any(layer.pads):
            image = self._emit(relax.op.nn.pad(image, [0, 0, top, bottom, left, right, 0, 0]))
        rows, columns, depth, outputs = w.steps.shape
        windows = layer.strides, layer.dilation
        if depth == 1 and 1 < layer.groups == tvm_versions.shape(image)[-1]:
            held = _stored(w.steps.reshape(1, rows, columns, outputs), of, whole=False)
            return self._emit(
                self.builder_.call_te(
                    integer_sums.depthwise, image, held, *windows, kind,
                    primfunc_name_hint="depthwise_conv2d",
                )
            )  # fmt: skip
        held = _stored(w.steps, of, whole=self._by.widens or of == "int16")
        return self._emit(
            self.builder_.call_te(
                integer_sums.conv2d, image, held, *windows, layer.groups, kind,
                primfunc_name_hint="conv2d",
            )
        )  # fmt: skip

    def _by_dot(self, layer: _Layer, x: _Input, w: _Weights) -> Any:
        """The same by the target's instruction, less what the zero point adds."""
        if tvm_versions.element_type(x.steps) == "uint8":
            wide = self._emit(relax.op.astype(x.steps, "int16"))
            moved = self._emit(relax.op.subtract(wide, relax.const(np.int16(HALF))))
            x = replace(x, steps=self._emit(relax.op.astype(moved, "int8")), zero=x.zero - HALF)
        by_four = relax.const(integer_sums.packed(w.steps.astype(np.int8)))
        if layer.strides:
            top, left, bottom, right = layer.pads
            made = self.builder_.call_te(
                integer_sums.dot_conv2d, x.steps, by_four,
                ((0, top, left, 0), (0, bottom, right, 0)), x.zero, layer.strides, layer.dilation,
                primfunc_name_hint="conv2d_int8",
            )  # fmt: skip
        else:
            made = self.builder_.call_te(
                integer_sums.dot_dense, x.steps, by_four, primfunc_name_hint="dense_int8"
            )
        axes = tuple(range(w.steps.ndim - 1))
        correction = (x.zero * w.steps.astype(np.int64).sum(axis=axes)).astype(np.int32)
        return self._emit(relax.op.subtract(self._emit(made), relax.const(correction)))

    def _centred(self, x: _Input, kind: str) -> Any:
        wide = self._emit(relax.op.astype(x.steps, kind))
        if not x.zero:
            return wide
        return self._emit(relax.op.subtract(wide, relax.const(np.array(x.zero, kind), kind)))

    def _input(self, expression: Any) -> _Input | None:
        """The steps behind a product's input, as `decompose_qdq` writes it, moved or not."""
        product, moves = self._moved(expression)
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
        element = tvm_versions.element_type(steps)
        if scale.size != 1 or zero.size != 1 or element not in BYTES:
            return None
        info, of_zero = np.iinfo(element), int(zero.item())
        if of_zero != zero.item() or not info.min <= of_zero <= info.max:
            return None  # pixels less their mean, which is no step
        return _Input(
            steps=self._move(steps, moves),
            scale=scale.item(),
            zero=of_zero,
            furthest=max(abs(info.min - of_zero), abs(info.max - of_zero)),
        )

    def _whole_input(self, expression: Any) -> _Input | None:
        """An input of int32 that is one of 8 bits, or what that is above another."""
        value, moves = self._moved(expression)
        parts = value.args if is_call(value, "subtract") else [value]
        if not all(self._is_byte(part) for part in parts):
            return None
        if len(parts) == 1:
            steps = self._move(self._bound(value).args[0], moves)
            return _Input(steps=steps, scale=1.0, zero=0, furthest=FURTHEST)
        return _Input(steps=expression, scale=1.0, zero=0, furthest=FURTHEST)

    def _is_byte(self, expression: Any) -> bool:
        """Whether a value has become int32 from 8 bits, moved or not."""
        made, _ = self._moved(expression)
        if is_call(made, "astype"):
            return tvm_versions.element_type(made.args[0]) in BYTES
        value = tvm_versions.constant_value(made)
        info = np.iinfo(np.int8), np.iinfo(np.uint8)
        return value is not None and bool(
            value.min(initial=0) >= info[0].min and value.max(initial=0) <= info[1].max
        )

    def _weights(self, expression: Any) -> _Weights | None:
        """The steps of constant weights of 8 bits, moved or not."""
        made, moves = self._moved(expression)
        if not is_call(made, "dequantize"):
            return None
        steps, scale, zero = (tvm_versions.constant_value(argument) for argument in made.args)
        if steps is None or scale is None or zero is None or str(steps.dtype) not in BYTES:
            return None
        axis = int(made.attrs.axis)
        form = [1] * steps.ndim
        if max(scale.size, zero.size) > 1:
            form[axis] = -1
        centred = steps.astype(np.int16) - zero.astype(np.int16).reshape(form)
        for move in moves:
            if is_call(move, "permute_dims"):
                order = _order(move, centred.ndim)
                centred, axis = centred.transpose(order), order.index(axis % centred.ndim)
            elif scale.size == 1:
                centred = centred.reshape(tvm_versions.shape(move))
            else:
                return None
        if scale.size != 1 and axis % centred.ndim != centred.ndim - 1:
            return None
        return _Weights(steps=np.ascontiguousarray(centred), scale=scale.reshape(-1))

    def _whole_weights(self, expression: Any) -> _Weights | None:
        """Constant weights of int32 that 9 bits hold, moved or not."""
        made, moves = self._moved(expression)
        value = tvm_versions.constant_value(made)
        if value is None and is_call(made, "astype"):
            value = tvm_versions.constant_value(self._bound(made.args[0]))
        if value is None or np.abs(value.astype(np.int64)).max(initial=0) >= 2 * HALF:
            return None
        for move in moves:
            if is_call(move, "permute_dims"):
                value = value.transpose(_order(move, value.ndim))
            else:
                value = value.reshape(tvm_versions.shape(move))
        steps = np.ascontiguousarray(value.astype(np.int16))
        return _Weights(steps=steps, scale=np.ones(1, np.float32))

    def _moved(self, expression: Any) -> tuple[Any, list[Any]]:
        """What operators move, and these, the first of them first."""
        made, moves = self._bound(expression), list[Any]()
        while is_call(made, *MOVES):
            moves.insert(0, made)
            made = self._bound(made.args[0])
        return made, moves

    def _move(self, value: Any, moves: list[Any]) -> Any:
        for move in moves:
            value = self._emit(relax.Call(move.op, [value, *move.args[1:]], move.attrs))
        return value

    def _bound(self, expression: Any) -> Any:
        """What a variable is, through as many names as it has."""
        while isinstance(expression, relax.Var):
            value = self.lookup_binding(expression)
            if value is None:
                return expression
            expression = value
        return expression


def _layer(call: Any) -> _Layer | None:
    """What a call multiplies; None for what is no product, or one in another layout."""
    if is_call(call, "matmul"):
        return _Layer()
    if not is_call(call, "nn.conv2d"):
        return None
    of = call.attrs
    if (str(of.data_layout), str(of.kernel_layout)) != ("NHWC", "HWIO"):
        return None
    return _Layer(
        groups=int(of.groups),
        strides=[int(s) for s in of.strides],
        dilation=[int(d) for d in of.dilation],
        pads=[int(p) for p in of.padding],
    )


def _known(expression: Any) -> bool:
    """Whether all sizes of a tensor are."""
    try:
        return bool(tvm_versions.shape(expression))
    except (AttributeError, TypeError, ValueError):
        return False


def _stored(steps: Steps, kind: str, *, whole: bool) -> Any:
    """The constant that the library has: integers, of 8 bits where they fit, or of a kind."""
    if not whole and kind in ("float32", "int16"):
        return relax.const(steps.astype(kind), kind)
    info = np.iinfo(np.int8)
    fits = steps.min() >= info.min and steps.max() <= info.max
    return relax.const(steps.astype(np.int8) if fits else steps)


def _order(move: Any, rank: int) -> list[int]:
    axes = move.attrs.axes
    return list(range(rank))[::-1] if axes is None else [int(axis) % rank for axis in axes]
