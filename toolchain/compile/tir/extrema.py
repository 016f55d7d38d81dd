"""Greatest and least values of floats that begin at an infinity.

TVM's begin at the greatest finite float: the maximum of nothing but -inf is -3.4e38 there, and the
row of an attention that is masked whole is not seen to be.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tvm import relax, te, tirx

from toolchain.compile import tvm_versions


def _beginning_at(combine: Callable[[Any, Any], Any], start: float, name: str) -> Any:
    """How LegalizeOps is to take a reduction of Relax, `call`, with its `axis` and `keepdims`."""

    def combined(a: Any, b: Any) -> Any:  # TVM counts a function's parameters
        return combine(a, b)

    reducer: Any = te.comm_reducer(combined, lambda kind: tirx.const(start, kind), name=name)

    def legalised(builder: relax.BlockBuilder, call: Any) -> Any:
        (given,) = call.args
        shape = _known_shape(given)
        if shape is None or 0 in shape or "float" not in tvm_versions.element_type(given):
            return call.op.get_attr("FLegalize")(builder, call)
        rank = len(shape)
        axes = range(rank) if call.attrs.axis is None else [int(a) % rank for a in call.attrs.axis]
        kept = bool(call.attrs.keepdims)

        def reduced(x: Any) -> Any:
            along = {axis: te.reduce_axis((0, shape[axis]), name=f"k{axis}") for axis in axes}

            def at(*place: Any) -> Any:
                left = iter(place)
                index = []
                for axis in range(rank):
                    if axis in along:
                        index.append(along[axis])
                        if kept:
                            next(left)
                    else:
                        index.append(next(left))
                return reducer(x(*index), axis=list(along.values()))

            sizes = [1 if axis in along else shape[axis] for axis in range(rank)]
            made = sizes if kept else [shape[axis] for axis in range(rank) if axis not in along]
            return te.compute(made, at, name=f"T_{name}")

        return builder.call_te(reduced, given, primfunc_name_hint=name)

    return legalised


def _known_shape(tensor: Any) -> list[int] | None:
    try:
        return tvm_versions.shape(tensor)
    except (AttributeError, TypeError, ValueError):
        return None


# For relax.transform.LegalizeOps.
FROM_INFINITY = {
    "relax.max": _beginning_at(tirx.max, -math.inf, "max"),
    "relax.min": _beginning_at(tirx.min, math.inf, "min"),
}
