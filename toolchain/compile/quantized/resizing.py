"""RESIZE_NEAREST_NEIGHBOR and RESIZE_BILINEAR of steps, and TRANSPOSE_CONV."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relax, te, tirx, topi

from toolchain.compile.quantized.emitter import Emitter
from toolchain.compile.quantized.products import (
    SAME,
    constant_weights,
    convolved,
    finished,
    padded,
    types,
)
from toolchain.formats.rounding.tflite_network import NotImportedError, Operator, Tensor

Places = npt.NDArray[np.int32]
BITS = 10  # of a place between two values, in RESIZE_BILINEAR


def nearest(emitter: Emitter, operator: Operator) -> list[Any]:
    """RESIZE_NEAREST_NEIGHBOR: GetNearestNeighbor of reference/resize_nearest_neighbor.h."""
    x, to = _images(emitter, operator)
    corners, centres = bool(operator.option(0, "b")), bool(operator.option(1, "b"))
    made = emitter.value(operator, 0)
    for axis in (1, 2):
        size, wanted = x.shape[axis], to.shape[axis]
        by_corners = corners and wanted > 1
        step = np.float32(size - 1) / np.float32(wanted - 1) if by_corners else None
        scale = np.float32(size) / np.float32(wanted) if step is None else step
        offset = np.float32(0.5 if centres else 0)
        places = (np.arange(wanted, dtype=np.float32) + offset) * scale
        places = np.floor(places + np.float32(0.5)) if corners else np.floor(places)
        index = np.clip(places, 0, size - 1).astype(np.int32)
        made = emitter.emit(relax.op.take(made, relax.const(index), axis=axis))
    return [made]


def bilinear(emitter: Emitter, operator: Operator) -> list[Any]:
    """RESIZE_BILINEAR: ResizeBilinearInteger of reference/resize_bilinear.h."""
    x, to = _images(emitter, operator)
    corners, centres = bool(operator.option(2, "b")), bool(operator.option(3, "b"))
    tables = [
        relax.const(table)
        for axis in (1, 2)
        for table in _between(x.shape[axis], to.shape[axis], corners, centres)
    ]

    def resize(image: te.Tensor, places: list[te.Tensor]) -> te.Tensor:
        top, bottom, down, left, right, across = places
        one = tirx.const(1 << BITS, "int32")
        half, whole = tirx.const(1 << (2 * BITS - 1), "int64"), tirx.const(1 << (2 * BITS), "int64")

        def at(n: Any, i: Any, j: Any, c: Any) -> Any:
            def corner(row: Any, column: Any, share: Any) -> Any:
                return image[n, row, column, c].astype("int64") * share.astype("int64")

            total = (
                corner(top[i], left[j], (one - down[i]) * (one - across[j]))
                + corner(bottom[i], left[j], down[i] * (one - across[j]))
                + corner(top[i], right[j], (one - down[i]) * across[j])
                + corner(bottom[i], right[j], down[i] * across[j])
            )
            above = tirx.Select(total > 0, total + half, total - half)
            return tirx.truncdiv(above, whole).astype(to.kind)

        return te.compute(to.shape, at, name="resize_bilinear")

    return [emitter.call(resize, emitter.value(operator, 0), tables, name="resize_bilinear")]


def transposed(emitter: Emitter, operator: Operator) -> list[Any]:
    """TRANSPOSE_CONV: a convolution of the image with zeros between its rows and columns.

    Its inputs are the output's shape, weights [K, R, S, C], x [N, H, W, C] and a bias.
    """
    x, to = emitter.rounded(operator, 2), emitter.rounded_output(operator)
    turned = constant_weights(emitter, operator, (1, 2, 3, 0)).reversed()
    strides = operator.option(2, "i"), operator.option(1, "i")
    window = turned.steps.shape[:2]
    if len(x.shape) != 4 or len(to.shape) != 4 or x.shape[-1] != turned.steps.shape[2]:
        raise NotImportedError(f"{operator.name} of {x.shape} to {to.shape}")
    if min(*strides, *window, *x.shape) < 1:
        raise NotImportedError(f"{operator.name} of {x.shape} by {window}")
    pads = []
    for size, wanted, taps, stride in zip(
        x.shape[1:3], to.shape[1:3], window, strides, strict=True
    ):
        total = 0
        if operator.option(0, "b") == SAME:
            total = max(0, (-(-wanted // stride) - 1) * stride + taps - wanted)
        before = taps - 1 - total // 2
        after = wanted + taps - 1 - before - ((size - 1) * stride + 1)
        if before < 0 or after < 0:
            raise NotImportedError(f"{operator.name} of {size} to {wanted} by {taps} taps")
        pads.append((before, after))
    of, kind = types(emitter, turned, x)
    spread = emitter.call(
        lambda image: topi.nn.dilate(image, [1, *strides, 1]),
        emitter.centred(operator, 2, of),
        name="dilate",
    )
    image = padded(emitter, spread, (pads[0], pads[1]))
    sums = convolved(emitter, image, turned, (of, kind))
    return [finished(emitter, operator, sums, turned, to, places=(2, 3), activation=3)]


def _images(emitter: Emitter, operator: Operator) -> tuple[Tensor, Tensor]:
    """The input and output [N, H, W, C], which have one scale."""
    x, to = emitter.rounded(operator, 0), emitter.rounded_output(operator)
    ends = [(len(t.shape), t.shape[:1], t.shape[-1:], t.kind, t.scale, t.zero) for t in (x, to)]
    if ends[0] != ends[1] or ends[0][0] != 4 or min(*x.shape, *to.shape) < 1:
        raise NotImportedError(f"{operator.name} of {x.shape} to {to.shape}")
    return x, to


def _between(size: int, wanted: int, corners: bool, centres: bool) -> tuple[Places, Places, Places]:
    """For each place of an output: the one below it, the one above, and how far between."""
    unit = 1 << BITS
    if corners and wanted > 1:
        scale = (unit * (size - 1) + (wanted - 1) // 2) // (wanted - 1)
    else:
        scale = (unit * size + wanted // 2) // wanted
    places = np.arange(wanted, dtype=np.int64) * scale
    if centres:
        places = np.maximum(places + scale // 2 - unit // 2, 0)
    low = np.minimum(places // unit, size - 1)
    high = np.minimum(low + 1, size - 1)
    share = places - unit * low
    return low.astype(np.int32), high.astype(np.int32), share.astype(np.int32)


RULES: Mapping[str, Any] = {
    "RESIZE_NEAREST_NEIGHBOR": nearest,
    "RESIZE_BILINEAR": bilinear,
    "TRANSPOSE_CONV": transposed,
}
