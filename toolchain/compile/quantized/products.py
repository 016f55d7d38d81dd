"""CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED: sums of products, exact, then requantised.

A sum whose values stay below 2 ** 24 is exact in float32 in whatever order it is added, and every
CPU here is as fast in float32 as it is in anything. So products are added in float32 where
max |x - zero| * sum |w| of each channel is below that, in int32 where it isn't; where the target
has an instruction for products of int8, by that. Where one instruction adds products of int16 to
int32 (RVV's vwmacc), x - zero is int16, and sums are int32.

Weights are int8 in the library in these two cases, and where the target makes float32 of them as
they are loaded. Elsewhere each vector of them takes several instructions, in every turn of a loop:
the one of a 1x1 convolution had 152 instead of 101 with NEON. There, and those of depthwise
convolutions, which are few and used for few products, they are of the type of the input's steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relax

from toolchain.compile.quantized.emitter import LONG, Emitter, activation_limits
from toolchain.compile.quantized.fixed_point import (
    Factor,
    long_scaling,
    scaling,
    single_scaling,
)
from toolchain.compile.relax import integer_sums
from toolchain.compile.tir.dot_product import DEPTH
from toolchain.formats.rounding.tflite_network import NotImportedError, Operator, Tensor
from toolchain.targets.instruction_sets import DotProduct

SAME = 0  # Padding of schema.fbs
ONE_BYTE = ("int8", "uint8")


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Constant weights: steps [..., K] less their zero points, and a scale for all or K."""

    steps: npt.NDArray[np.int16]
    scale: npt.NDArray[np.float32]

    def stored(self, kind: str, *, whole: bool = True) -> Any:
        """The constant that the library has.

        Args:
            kind: of the input that they are multiplied by.
            whole: keep it an integer, of 8 bits wherever it fits, whatever that is.
        """
        if kind in ("float32", "int16") and not whole:
            return relax.const(self.steps.astype(kind), kind)
        least, most = np.iinfo(np.int8).min, np.iinfo(np.int8).max
        fits = self.steps.min() >= least and self.steps.max() <= most
        return relax.const(self.steps.astype(np.int8) if fits else self.steps)

    def reversed(self) -> Weights:
        """The same [R, S, ...] with rows and columns from the last to the first."""
        return Weights(steps=np.ascontiguousarray(self.steps[::-1, ::-1]), scale=self.scale)

    def largest(self, x: Tensor) -> int:
        """What no sum of them over steps of an input can exceed."""
        info = np.iinfo(x.kind)
        furthest = max(abs(int(info.min) - x.zero), abs(int(info.max) - x.zero))
        sums = np.abs(self.steps.astype(np.int64)).sum(axis=tuple(range(self.steps.ndim - 1)))
        return int(sums.max(initial=0)) * furthest


def convolution(emitter: Emitter, operator: Operator) -> list[Any]:
    """CONV_2D: x [N, H, W, C] by w [K, R, S, C / groups]."""
    x, to = emitter.rounded(operator, 0), emitter.rounded_output(operator)
    weights = constant_weights(emitter, operator, (1, 2, 3, 0))
    rows, columns, depth, outputs = _sizes(weights, 4)
    if depth < 1 or x.shape[-1] % depth or outputs % (x.shape[-1] // depth):
        raise NotImportedError(f"{operator.name}: {x.shape[-1]} channels by {depth}")
    groups = x.shape[-1] // depth
    strides = operator.option(2, "i"), operator.option(1, "i")
    dilation = operator.option(5, "i", 1), operator.option(4, "i", 1)
    pads = padding(operator, x, (rows, columns), strides, dilation)
    if groups == 1 and _fits(emitter.dot, x, weights):
        (top, bottom), (left, right) = pads
        packed = relax.const(integer_sums.packed(weights.steps.astype(np.int8)))
        around = (0, top, left, 0), (0, bottom, right, 0)
        sums = emitter.call(
            integer_sums.dot_conv2d, emitter.value(operator, 0), packed, around, x.zero,
            list(strides), list(dilation), name="conv2d_int8",
        )  # fmt: skip
        return [finished(emitter, operator, sums, weights, to, corrected=True, activation=3)]
    of, kind = types(emitter, weights, x)
    image = padded(emitter, emitter.centred(operator, 0, of), pads)
    sums = emitter.call(
        integer_sums.conv2d,
        image,
        weights.stored(of, whole=emitter.keeps_weights(of)),
        strides,
        dilation,
        groups,
        kind,
        name="conv2d",
    )
    return [finished(emitter, operator, sums, weights, to, activation=3)]


def convolved(emitter: Emitter, image: Any, weights: Weights, kinds: tuple[str, str]) -> Any:
    """Sums of a convolution without strides, of an image that is centred and padded already.

    Args:
        emitter: of the graph.
        image: [N, H, W, C].
        weights: of the products.
        kinds: what `types` gives for them.
    """
    (of, kind), once = kinds, (1, 1)
    return emitter.call(
        integer_sums.conv2d, image, weights.stored(of, whole=emitter.keeps_weights(of)),
        once, once, 1, kind, name="conv2d",
    )  # fmt: skip


def depthwise(emitter: Emitter, operator: Operator) -> list[Any]:
    """DEPTHWISE_CONV_2D: x [N, H, W, C] by w [1, R, S, C * multiplier]."""
    x, to = emitter.rounded(operator, 0), emitter.rounded_output(operator)
    weights = constant_weights(emitter, operator, (0, 1, 2, 3))
    one, rows, columns, outputs = _sizes(weights, 4)
    if one != 1 or not x.shape[-1] or outputs % x.shape[-1]:
        raise NotImportedError(f"{operator.name}: {x.shape[-1]} channels to {outputs}")
    strides = operator.option(2, "i"), operator.option(1, "i")
    dilation = operator.option(6, "i", 1), operator.option(5, "i", 1)
    pads = padding(operator, x, (rows, columns), strides, dilation)
    of, kind = types(emitter, weights, x)
    image = padded(emitter, emitter.centred(operator, 0, of), pads)
    sums = emitter.call(
        integer_sums.depthwise,
        image,
        weights.stored(of, whole=False),
        strides,
        dilation,
        kind,
        name="depthwise_conv2d",
    )
    return [finished(emitter, operator, sums, weights, to, activation=4)]


def dense(emitter: Emitter, operator: Operator) -> list[Any]:
    """FULLY_CONNECTED: x, read as [M, C], by w [K, C]."""
    x, to = emitter.rounded(operator, 0), emitter.rounded_output(operator)
    if operator.option(1, "b"):
        raise NotImportedError(f"{operator.name} has shuffled weights")
    weights = constant_weights(emitter, operator, (1, 0))
    depth, outputs = _sizes(weights, 2)
    count = math.prod(x.shape)
    if not depth or count % depth or count // depth * outputs != math.prod(to.shape):
        raise NotImportedError(f"{operator.name}: {x.shape} by {depth} to {to.shape}")
    rows = (count // depth, depth)
    if _fits(emitter.dot, x, weights):
        packed = relax.const(integer_sums.packed(weights.steps.astype(np.int8)))
        matrix = emitter.emit(relax.op.reshape(emitter.value(operator, 0), rows))
        sums = emitter.call(integer_sums.dot_dense, matrix, packed, name="dense_int8")
        steps = finished(emitter, operator, sums, weights, to, corrected=True)
    else:
        of, kind = types(emitter, weights, x)
        matrix = emitter.emit(relax.op.reshape(emitter.centred(operator, 0, of), rows))
        held = weights.stored(of, whole=emitter.keeps_weights(of))
        sums = emitter.call(integer_sums.dense, matrix, held, kind, name="dense")
        steps = finished(emitter, operator, sums, weights, to)
    return [emitter.emit(relax.op.reshape(steps, to.shape))]


def padding(
    operator: Operator,
    x: Tensor,
    window: tuple[int, int],
    strides: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[tuple[int, int], tuple[int, int]]:
    """How much a window needs around an image [N, H, W, C]: before and after, rows and columns.

    ComputePaddingHeightWidth of kernels/padding.h.

    Raises:
        NotImportedError: the image is smaller than the window, or a size is below 1.
    """
    if len(x.shape) != 4 or min(*window, *strides, *dilation, *x.shape) < 1:
        raise NotImportedError(f"{operator.name}: window {window} over {x.shape}")
    found = []
    for size, taps, stride, step in zip(x.shape[1:3], window, strides, dilation, strict=True):
        reach = (taps - 1) * step + 1
        total = 0
        if operator.option(0, "b") == SAME:
            total = max(0, (-(-size // stride) - 1) * stride + reach - size)
        if size + total < reach:
            raise NotImportedError(f"{operator.name}: a window of {reach} over {size}")
        found.append((total // 2, total - total // 2))
    return found[0], found[1]


def padded(emitter: Emitter, x: Any, pads: tuple[tuple[int, int], tuple[int, int]]) -> Any:
    """An image [N, H, W, C] with zeros around."""
    if not any(size for pair in pads for size in pair):
        return x
    return emitter.emit(relax.op.nn.pad(x, [0, 0, *pads[0], *pads[1], 0, 0]))


def _sizes(weights: Weights, rank: int) -> tuple[int, ...]:
    if weights.steps.ndim != rank:
        raise NotImportedError(f"weights of {weights.steps.ndim} axes")
    return weights.steps.shape


def constant_weights(emitter: Emitter, operator: Operator, order: tuple[int, ...]) -> Weights:
    """The constant weights of an operator, their axes in an order that has the channels last."""
    tensor, value = emitter.given(operator, 1), emitter.constant(operator, 1)
    rounding = tensor.rounding
    if tensor.kind not in ONE_BYTE or rounding is None or value.ndim != len(order):
        raise NotImportedError(
            f"{operator.name}: weights {tensor.name} are {tensor.kind} {tensor.shape}"
        )
    if rounding.scale.size > 1 and order[-1] != rounding.axis:
        raise NotImportedError(f"{operator.name}: {tensor.name} has scales on {rounding.axis}")
    steps = value.transpose(order).astype(np.int16) - rounding.zero.astype(np.int16)
    return Weights(steps=np.ascontiguousarray(steps), scale=rounding.scale)


def _fits(dot: DotProduct | None, x: Tensor, weights: Weights) -> bool:
    """Whether an instruction for sums of products of int8 is worth its while for a layer."""
    *_, depth, outputs = weights.steps.shape
    if dot is None or depth <= DEPTH // 2 or outputs % dot.lanes or x.kind != "int8":
        return False
    least, most = np.iinfo(np.int8).min, np.iinfo(np.int8).max
    inside = weights.steps.min() >= least and weights.steps.max() <= most
    return bool(inside) and weights.largest(x) < LONG


def accumulator(weights: Weights, x: Tensor) -> str:
    """The type in which sums of products are exact."""
    largest = weights.largest(x)
    if largest < integer_sums.EXACT:
        return "float32"
    return "int32" if largest < LONG else "int64"


def types(emitter: Emitter, weights: Weights, x: Tensor) -> tuple[str, str]:
    """The types of the input's steps less their zero point, and in which products are added."""
    kind = accumulator(weights, x)
    if emitter.short and x.kind in ONE_BYTE and kind != "int64":
        return "int16", "int32"
    return kind, kind


def finished(
    emitter: Emitter,
    operator: Operator,
    sums: Any,
    weights: Weights,
    to: Tensor,
    *,
    corrected: bool = False,
    activation: int = 0,
    places: tuple[int, int] = (0, 2),
) -> Any:
    """Sums as steps of the output.

    Args:
        emitter: of the graph.
        operator: what is computed.
        sums: [..., K].
        weights: of the products.
        to: the output.
        corrected: whether the input's zero point is to be taken from the sums.
        activation: the field of the operator's options that has its activation.
        places: of its input and its bias.
    """
    x = emitter.given(operator, places[0])
    bias, long = np.zeros(weights.steps.shape[-1], np.int64), x.kind == "int16"
    if emitter.has(operator, places[1]):
        found = emitter.constant(operator, places[1])
        if found.shape != bias.shape or found.dtype not in (np.int32, np.int64):
            raise NotImportedError(f"{operator.name}: a bias {found.dtype} {found.shape}")
        bias, long = found.astype(np.int64), found.dtype == np.int64
    if corrected:
        axes = tuple(range(weights.steps.ndim - 1))
        bias = bias - x.zero * weights.steps.astype(np.int64).sum(axis=axes)
    dense = operator.name == "FULLY_CONNECTED"
    factor = Factor.of(_products_scale(dense, x, weights) / np.float64(to.scale))
    scaled = long_scaling if long else scaling
    if dense and weights.largest(x) + int(np.abs(bias).max(initial=0)) < LONG:
        scaled = single_scaling
    limits = activation_limits(operator, activation, to)
    return emitter.requantized(sums, to, factor, bias=bias, limits=limits, long=long, scaled=scaled)


def _products_scale(dense: bool, x: Tensor, weights: Weights) -> npt.NDArray[np.float64]:
    """What a step of a product stands for: in float32 where kernels/kernel_util.cc has it so."""
    if weights.scale.size == 1 and x.kind == "uint8" and not dense:
        return (x.scale * weights.scale).astype(np.float64)
    return np.float64(x.scale) * weights.scale.astype(np.float64)


RULES: Mapping[str, Any] = {
    "CONV_2D": convolution,
    "DEPTHWISE_CONV_2D": depthwise,
    "FULLY_CONNECTED": dense,
}
