"""Operators that move steps and change none: RESHAPE, CONCATENATION, PAD, TRANSPOSE, diagonals.

What lies beside the steps that are moved is a step too: MATRIX_DIAG's and SPARSE_TO_DENSE's rest is
that of the number 0, whatever it stands for, as the reference has it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from toolchain.compile import tvm_versions
from toolchain.compile.quantized.emitter import Emitter
from toolchain.compile.quantized.fixed_point import Factor
from toolchain.formats.rounding.tflite_network import ROUNDED, NotImportedError, Operator, Tensor

LEAST_RANK = 2  # of what has a diagonal


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


def diagonal(emitter: Emitter, operator: Operator) -> list[Any]:
    """MATRIX_DIAG: rows as the diagonals of squares, with steps of 0 around them."""
    x, to = emitter.given(operator, 0), emitter.made(operator)
    if not x.shape or to.shape != (*x.shape, x.shape[-1]):
        raise NotImportedError(f"{operator.name} of {x.shape} to {to.shape}")

    def place(x: te.Tensor) -> te.Tensor:
        def at(*index: Any) -> Any:
            return tirx.Select(index[-2] == index[-1], x[index[:-1]], tirx.const(0, to.kind))

        return te.compute(to.shape, at, name="diagonal")

    return [emitter.call(place, emitter.value(operator, 0), name="diagonal")]


def with_diagonal(emitter: Emitter, operator: Operator) -> list[Any]:
    """MATRIX_SET_DIAG: steps on the diagonal as they are, whatever their scale."""
    x, row = emitter.given(operator, 0), emitter.given(operator, 1)
    if len(x.shape) < LEAST_RANK or row.shape != (*x.shape[:-2], min(x.shape[-2:])):
        raise NotImportedError(f"{operator.name} of {x.shape} and {row.shape}")
    last = row.shape[-1] - 1

    def put(x: te.Tensor, row: te.Tensor) -> te.Tensor:
        def at(*index: Any) -> Any:
            inside = (
                *index[:-2],
                tirx.Min(index[-2], tirx.const(last, tvm_versions.scalar_type(index[-2]))),
            )
            return tirx.Select(index[-2] == index[-1], row[inside], x[index])

        return te.compute(x.shape, at, name="with_diagonal")

    values = emitter.value(operator, 0), emitter.value(operator, 1)
    return [emitter.call(put, *values, name="with_diagonal")]


def one_hot(emitter: Emitter, operator: Operator) -> list[Any]:
    """ONE_HOT with constant steps for what is named and what isn't."""
    indices, to = emitter.given(operator, 0), emitter.rounded_output(operator)
    on, off = (int(emitter.constant(operator, place).reshape(-1)[0]) for place in (2, 3))
    axis = operator.option(0, "i") % max(len(to.shape), 1)
    if (*to.shape[:axis], *to.shape[axis + 1 :]) != indices.shape:
        raise NotImportedError(f"{operator.name} of {indices.shape} to {to.shape}")

    def choose(indices: te.Tensor) -> te.Tensor:
        def at(*index: Any) -> Any:
            named = indices[(*index[:axis], *index[axis + 1 :])].astype("int32")
            return tirx.Select(
                named == index[axis].astype("int32"),
                tirx.const(on, to.kind),
                tirx.const(off, to.kind),
            )

        return te.compute(to.shape, at, name="one_hot")

    return [emitter.call(choose, emitter.value(operator, 0), name="one_hot")]


def sparse_to_dense(emitter: Emitter, operator: Operator) -> list[Any]:
    """SPARSE_TO_DENSE by constant places; the last of several values at one place is there."""
    to, values = emitter.made(operator), emitter.given(operator, 2)
    places = emitter.constant(operator, 0).astype(np.int64).reshape(-1, max(len(to.shape), 1))
    if places.size and ((places < 0) | (places >= to.shape)).any():
        raise NotImportedError(f"{operator.name} beyond {to.shape}")
    many = math.prod(values.shape)
    if many != len(places) and many != 1:
        raise NotImportedError(f"{operator.name} of {many} values for {len(places)} places")
    source = np.full(to.shape, many, np.int32)  # where each number of the output comes from
    for number, place in enumerate(places):
        source[tuple(place)] = number % many
    rest = relax.const(emitter.constant(operator, 3).reshape(1).astype(to.kind), to.kind)
    flat = emitter.emit(relax.op.reshape(emitter.value(operator, 2), [many]))
    both = emitter.emit(relax.op.concat([flat, rest], 0))
    taken = emitter.emit(relax.op.take(both, relax.const(source.reshape(-1)), 0))
    return [emitter.emit(relax.op.reshape(taken, to.shape))]


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
    "MATRIX_DIAG": diagonal,
    "MATRIX_SET_DIAG": with_diagonal,
    "ONE_HOT": one_hot,
    "SPARSE_TO_DENSE": sparse_to_dense,
}
