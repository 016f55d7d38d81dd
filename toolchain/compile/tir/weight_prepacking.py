"""Weights laid out in the order in which the tiles of a schedule read them.

A tile of channels takes a few neighbouring values of each row of its function's weights, and the
rows lie kilobytes apart: each value in another line of the cache, often another page, and rows a
power of two apart push each other out. Here the columns of a tile stand together, row after row, so
that a tile reads from one end to the other what the CPU has fetched ahead. (One core of an x86-64,
by hand: 1024 to 256 channels of 14 by 14 pixels took 2.25 ms, and 1.56 with this; 3x3, 512 to 512,
of 7 by 7, 9.29 and 3.56.) The schedule (`schedules.Rule`) turns the function's argument, the
constant is turned here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax, tirx
from tvm.relax.expr_functor import PyExprMutator, mutator

from toolchain.compile import tvm_versions

# of a function: by the number of an argument, how many of its columns stand together
Packs = dict[int, int]


def constants(module: tvm.IRModule) -> dict[str, frozenset[int]]:
    """Which arguments of each function are constants in every call of it, by its name."""
    found: dict[str, frozenset[int]] = {}

    def visit(expression: Any) -> None:
        if _calls(expression):
            name, given = expression.args[0].name_hint, expression.args[1].fields
            these = frozenset(n for n, a in enumerate(given) if tvm_versions.is_constant(a))
            found[name] = found.get(name, these) & these

    for _, function in module.functions_items():
        if isinstance(function, relax.Function):
            relax.analysis.post_order_visit(function, visit)
    return found


def packs(plain: tirx.PrimFunc, scheduled: tirx.PrimFunc) -> Packs:
    """What a schedule packed: its arguments have one axis more."""
    pairs = zip(tvm_versions.arguments(plain), tvm_versions.arguments(scheduled), strict=True)
    return {n: after[-1] for n, (before, after) in enumerate(pairs) if len(after) > len(before)}


def packed(module: tvm.IRModule, by_name: Mapping[str, Packs]) -> tvm.IRModule:
    """The module with the constants packed that its functions' schedules want so.

    Args:
        module: whose functions are scheduled already.
        by_name: of each function that wants it.
    """
    wanted = {name: packs for name, packs in by_name.items() if packs}
    if not wanted:
        return module
    turned = {}
    for name, packs in wanted.items():
        # what a function takes is written in its variable too
        before, function = module.get_global_var(name), module[name]
        turned[name] = relax.BlockBuilder().add_func(function, name), packs
        del module[before]
        module.update_func(turned[name][0], function)
    main = module.get_global_var("main")
    rewritten = _Packed(module, turned).visit_expr(module["main"])
    module.update_func(main, rewritten)
    return module


def pack(weights: npt.NDArray[Any], columns: int) -> npt.NDArray[Any]:
    """An array of shape (…, n · columns) as one of shape (n, …, columns)."""
    *rows, last = weights.shape
    apart = weights.reshape(*rows, last // columns, columns)
    return np.ascontiguousarray(np.moveaxis(apart, -2, 0))


@mutator
class _Packed(PyExprMutator):  # type: ignore[misc] # TVM is untyped
    def __init__(
        self, module: tvm.IRModule, turned: Mapping[str, tuple[tvm.ir.GlobalVar, Packs]]
    ) -> None:
        super().__init__(module)
        self._turned = turned

    def visit_call_(self, call: Any) -> Any:
        call = super().visit_call_(call)
        wanted = self._turned.get(call.args[0].name_hint) if _calls(call) else None
        if wanted is None:
            return call
        function, packs = wanted
        given = list(call.args[1].fields)
        for number, columns in packs.items():
            given[number] = relax.const(pack(tvm_versions.constant(given[number]), columns))
        return relax.call_tir(function, given, tvm_versions.described(call))


def _calls(expression: Any) -> bool:
    """Whether an expression calls a function of loops."""
    return isinstance(expression, relax.Call) and expression.op == tvm.ir.Op.get("relax.call_tir")
