"""Operators that move steps and change none: RESHAPE, CONCATENATION, PAD, TRANSPOSE, slices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import relax

from toolchain.compile.quantized.emitter import Emitter
from toolchain.compile.quantized.fixed_point import Factor
from toolchain.compile.quantized.network import ROUNDED, NotImportedError, Operator, Tensor


def reshape(emitter: Emitter, operator: Operator) -> list[Any]:
    """RESHAPE, SQUEEZE and EXPAND_DIMS: the shape is that of the output."""
    x, to = emitter.given(operator, 0), emitter.made(operator)
    refuse_other_scales(operator, x, to)
    if math.prod(x.shape) != math.prod(to.shape):
        raise NotImportedError(f"{operator.name} of {x.shape} to {to.shape}")
    return [emitter.emit(relax.op.reshape(emitter.value(operator, 0), to.shape))]


def concatenation(emitter: Emitter, operator: Operator) -> list[Any]:
    """CONCATENATION; what has another scale than the output is requantised first."""
    to = emitter.made(operator)
    if operator.option(1, "b"):
        raise NotImportedError(f"{operator.name} has an activation fused")
    parts = []
    for place in range(len(operator.inputs)):
        x, value = emitter.given(operator, place), emitter.value(operator, place)
        if to.kind in ROUNDED and not _same(x, to):
            emitter.rounded(operator, place, (to.kind,))
            info = np.iinfo(to.kind)
            value = emitter.requantized(
                value,
                to,
                Factor.of(float(x.scale) / float(to.scale)),
                bias=np.array([-x.zero]),
                limits=(int(info.min), int(info.max)),
            )
        parts.append(value)
    axis = operator.option(0, "i")
    return [emitter.emit(relax.op.concat(parts, axis % max(len(to.shape), 1)))]


def pad(emitter: Emitter, operator: Operator) -> list[Any]:
    """PAD with the zero point, PADV2 with a value."""
    x, to = emitter.given(operator, 0), emitter.made(operator)
    refuse_other_scales(operator, x, to)
    widths = emitter.constant(operator, 1)
    if widths.shape != (len(x.shape), 2) or (widths < 0).any():
        raise NotImportedError(f"{operator.name} by {widths.tolist()}")
    value = to.zero if to.kind in ROUNDED else 0
    if emitter.has(operator, 2):
        value = int(emitter.constant(operator, 2).reshape(-1)[0])
    flat = [int(width) for width in widths.reshape(-1)]
    return [emitter.emit(relax.op.nn.pad(emitter.value(operator, 0), flat, pad_value=value))]


def transpose(emitter: Emitter, operator: Operator) -> list[Any]:
    """TRANSPOSE by a constant order."""
    x, order = emitter.given(operator, 0), emitter.constant(operator, 1).reshape(-1).tolist()
    refuse_other_scales(operator, x, emitter.made(operator))
    if sorted(order) != list(range(len(x.shape))):
        raise NotImportedError(f"{operator.name} by {order}")
    return [emitter.emit(relax.op.permute_dims(emitter.value(operator, 0), order))]


def _same(x: Tensor, to: Tensor) -> bool:
    if x.kind != to.kind:
        return False
    if x.kind not in ROUNDED or x.rounding is None or to.rounding is None:
        return True
    return x.scale == to.scale and x.zero == to.zero


def refuse_other_scales(operator: Operator, x: Tensor, to: Tensor) -> None:
    """Refuse an operator that would have to change values.

    Raises:
        NotImportedError: the output has another scale than the input.
    """
    if not _same(x, to):
        raise NotImportedError(f"{operator.name}: {x.name} and {to.name} have different scales")


RULES: Mapping[str, Any] = {
    "RESHAPE": reshape,
    "SQUEEZE": reshape,
    "EXPAND_DIMS": reshape,
    "CONCATENATION": concatenation,
    "PAD": pad,
    "PADV2": pad,
    "TRANSPOSE": transpose,
}
