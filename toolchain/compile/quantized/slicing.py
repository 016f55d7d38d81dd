"""Operators that take tensors apart or stack them: slices, SPLIT, PACK, UNPACK; and SHAPE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import relax

from toolchain.compile.quantized.emitter import Emitter
from toolchain.compile.quantized.movement import refuse_other_scales
from toolchain.formats.rounding.tflite_network import NotImportedError, Operator


def strided_slice(emitter: Emitter, operator: Operator) -> list[Any]:
    """STRIDED_SLICE by constants; masks of schema.fbs, but for ellipsis and new axes."""
    x, to = emitter.given(operator, 0), emitter.made(operator)
    refuse_other_scales(operator, x, to)
    begin, end, strides = (
        emitter.constant(operator, place).reshape(-1).astype(np.int64).tolist()
        for place in (1, 2, 3)
    )
    masks = [operator.option(field, "i") for field in range(5)]
    if masks[2] or masks[3] or operator.option(5, "b") or len(begin) != len(x.shape):
        raise NotImportedError(f"{operator.name} with masks {masks}")
    if not all(strides) or not len(begin) == len(end) == len(strides):
        raise NotImportedError(f"{operator.name} by strides {strides}")
    index = []
    for axis, (size, first, last, stride) in enumerate(
        zip(x.shape, begin, end, strides, strict=True)
    ):
        if masks[4] >> axis & 1:
            place = first + size if first < 0 else first
            index.append(np.arange(place, place + 1))
            continue
        cut = slice(
            None if masks[0] >> axis & 1 else first, None if masks[1] >> axis & 1 else last, stride
        )
        index.append(np.arange(size)[cut])
    return [_taken(emitter, operator, index, to.shape)]


def plain_slice(emitter: Emitter, operator: Operator) -> list[Any]:
    """SLICE by constants: where each axis begins, and its size, -1 for the rest."""
    x, to = emitter.given(operator, 0), emitter.made(operator)
    refuse_other_scales(operator, x, to)
    begin, sizes = (
        emitter.constant(operator, place).reshape(-1).astype(np.int64).tolist() for place in (1, 2)
    )
    if len(begin) != len(x.shape) or len(sizes) != len(x.shape):
        raise NotImportedError(f"{operator.name} of {len(begin)} axes")
    index = [
        np.arange(first, size if count < 0 else first + count)
        for size, first, count in zip(x.shape, begin, sizes, strict=True)
    ]
    return [_taken(emitter, operator, index, to.shape)]


def split(emitter: Emitter, operator: Operator) -> list[Any]:
    """SPLIT into equal parts, its axis before its input; SPLIT_V into parts of given sizes."""
    by_sizes = operator.name == "SPLIT_V"
    place, at = (0, 2) if by_sizes else (1, 0)
    x, axis = emitter.given(operator, place), int(emitter.constant(operator, at).reshape(-1)[0])
    axis %= max(len(x.shape), 1)
    sizes = [emitter.made(operator, n).shape[axis] for n in range(len(operator.outputs))]
    if sum(sizes) != x.shape[axis]:
        raise NotImportedError(f"{operator.name} of {x.shape[axis]} into {sizes}")
    for number in range(len(sizes)):
        refuse_other_scales(operator, x, emitter.made(operator, number))
    ends = np.cumsum(sizes).tolist()
    value = emitter.value(operator, place)
    return [
        emitter.emit(relax.op.strided_slice(value, [axis], [end - size], [end]))
        for size, end in zip(sizes, ends, strict=True)
    ]


def pack(emitter: Emitter, operator: Operator) -> list[Any]:
    """PACK along a new axis."""
    to = emitter.made(operator)
    axis = operator.option(1, "i") % max(len(to.shape), 1)
    shape = [*to.shape[:axis], 1, *to.shape[axis + 1 :]]
    parts = []
    for place in range(len(operator.inputs)):
        refuse_other_scales(operator, emitter.given(operator, place), to)
        parts.append(emitter.emit(relax.op.reshape(emitter.value(operator, place), shape)))
    return [emitter.emit(relax.op.concat(parts, axis))]


def unpack(emitter: Emitter, operator: Operator) -> list[Any]:
    """UNPACK along an axis."""
    x = emitter.given(operator, 0)
    axis = operator.option(1, "i") % max(len(x.shape), 1)
    if not x.shape or x.shape[axis] != len(operator.outputs):
        raise NotImportedError(f"{operator.name} of {x.shape} along {axis}")
    value, made = emitter.value(operator, 0), []
    for number in range(len(operator.outputs)):
        to = emitter.made(operator, number)
        refuse_other_scales(operator, x, to)
        part = emitter.emit(relax.op.strided_slice(value, [axis], [number], [number + 1]))
        made.append(emitter.emit(relax.op.reshape(part, to.shape)))
    return made


def known_shape(emitter: Emitter, operator: Operator) -> list[Any]:
    """SHAPE, which is known; what is computed of it for a RESHAPE is read by nothing."""
    x, to = emitter.given(operator, 0), emitter.made(operator)
    return [relax.const(np.array(x.shape, to.kind), to.kind)]


def _taken(emitter: Emitter, operator: Operator, index: list[Any], shape: tuple[int, ...]) -> Any:
    """The places of each axis of an operator's input, evenly apart, in another shape."""
    value, x = emitter.value(operator, 0), emitter.given(operator, 0)
    for axis, (size, places) in enumerate(zip(x.shape, index, strict=True)):
        if not places.size or places.min() < 0 or places.max() >= size:
            raise NotImportedError(f"{operator.name} takes nothing, or more than there is")
        if places.size == size and places[0] == 0:
            continue
        step = int(places[1] - places[0]) if places.size > 1 else 1
        if step > 0:
            value = emitter.emit(
                relax.op.strided_slice(
                    value, [axis], [int(places[0])], [int(places[-1]) + 1], [step]
                )
            )
        else:
            kept = relax.const(places.astype(np.int32))
            value = emitter.emit(relax.op.take(value, kept, axis=axis))
    return emitter.emit(relax.op.reshape(value, shape))


RULES: Mapping[str, Any] = {
    "STRIDED_SLICE": strided_slice,
    "SLICE": plain_slice,
    "SPLIT": split,
    "SPLIT_V": split,
    "PACK": pack,
    "UNPACK": unpack,
    "SHAPE": known_shape,
}
