"""Sums of products of integers as loops: convolutions, depthwise ones, and matrix products.

The steps that are multiplied are whole numbers in whatever type holds them, and so are the sums.
`conv2d`, `depthwise` and `dense` take steps less their zero point; `dot_conv2d` and `dot_dense`
steps as they are, and weights packed for an instruction for products of int8 (`packed`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import te, topi

from toolchain.compile.tir.dot_product import DEPTH

EXACT = 1 << 24  # whole numbers up to it are float32s


def packed(steps: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
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


def conv2d(
    x: te.Tensor,
    w: te.Tensor,
    strides: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    kind: str,
) -> te.Tensor:
    """Sums of a convolution: x [N, H, W, C] padded already, w [R, S, C / groups, K]."""
    batch, high, wide = _positions(x, w, strides, dilation)
    rows, columns, depth, outputs = (int(size) for size in w.shape)
    r, s = te.reduce_axis((0, rows), "r"), te.reduce_axis((0, columns), "s")
    c, of_group = te.reduce_axis((0, depth), "c"), outputs // groups

    def at(n: Any, i: Any, j: Any, k: Any) -> Any:
        channel = c if groups == 1 else k // of_group * depth + c
        down, across = i * strides[0] + r * dilation[0], j * strides[1] + s * dilation[1]
        return te.sum(
            x[n, down, across, channel].astype(kind) * w[r, s, c, k].astype(kind), axis=[r, s, c]
        )

    return te.compute((batch, high, wide, outputs), at, name="conv2d")


def depthwise(
    x: te.Tensor, w: te.Tensor, strides: tuple[int, int], dilation: tuple[int, int], kind: str
) -> te.Tensor:
    """Sums over each channel alone: x [N, H, W, C] padded already, w [1, R, S, C * multiplier]."""
    _, rows, columns, outputs = (int(size) for size in w.shape)
    window = te.placeholder((rows, columns, 1, 1), "int8")
    batch, high, wide = _positions(x, window, strides, dilation)
    multiplier = outputs // int(x.shape[-1])
    r, s = te.reduce_axis((0, rows), "r"), te.reduce_axis((0, columns), "s")

    def at(n: Any, i: Any, j: Any, k: Any) -> Any:
        channel = k if multiplier == 1 else k // multiplier
        down, across = i * strides[0] + r * dilation[0], j * strides[1] + s * dilation[1]
        return te.sum(
            x[n, down, across, channel].astype(kind) * w[0, r, s, k].astype(kind), axis=[r, s]
        )

    return te.compute((batch, high, wide, outputs), at, name="depthwise_conv2d")


def _positions(
    x: te.Tensor, w: te.Tensor, strides: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, ...]:
    """Images, rows and columns of an output."""
    sizes = [int(size) for size in x.shape]
    high, wide = (
        (sizes[1 + n] - dilation[n] * (int(w.shape[n]) - 1) - 1) // strides[n] + 1 for n in (0, 1)
    )
    return sizes[0], high, wide


def dense(x: te.Tensor, w: te.Tensor, kind: str) -> te.Tensor:
    """Sums of a matrix product: x [M, C], w [C, K]."""
    c = te.reduce_axis((0, int(w.shape[0])), "c")

    def at(m: Any, k: Any) -> Any:
        return te.sum(x[m, c].astype(kind) * w[c, k].astype(kind), axis=[c])

    return te.compute((x.shape[0], w.shape[1]), at, name="dense")
