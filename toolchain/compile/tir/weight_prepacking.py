"""Weights laid out in the order in which the tiles of a schedule read them.

A tile of channels takes a few neighbouring values of each row of its function's weights, and the
rows lie kilobytes apart: each value in another line of the cache, often another page, and rows a
power of two apart push each other out. Here the columns of a tile stand together, row after row, so
that a tile reads from one end to the other what the CPU has fetched ahead. (One core of an x86-64,
by hand: 1024 to 256 channels of 14 by 14 pixels took 2.25 ms, and 1.56 with this; 3x3, 512 to 512,
of 7 by 7, 9.29 and 3.56.) The schedule (`default_schedule.ScheduleRule`) changes the layout
of the function's argument, that of the constant is changed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax, tirx
from tvm.ir.transform import Pass
from tvm.relax.expr_functor import PyExprMutator, mutator

from toolchain.compile import tvm_versions

# Of a function: by the index of an argument, how many of its columns stand together.
Packing = dict[int, int]


def constant_arguments(module: tvm.IRModule) -> dict[str, frozenset[int]]:
    """The indices of each function's arguments that are constants in every call of it, by its name.

    Args:
        module: Relax that calls TIR functions by `call_tir`, each with a tuple of arguments.
    """
    found: dict[str, frozenset[int]] = {}

    def visit(expression: Any) -> None:
        if _is_call_tir(expression):
            name, given = expression.args[0].name_hint, expression.args[1].fields
            these = frozenset(n for n, a in enumerate(given) if tvm_versions.is_constant(a))
            found[name] = found.get(name, these) & these

    for _, function in module.functions_items():
        if isinstance(function, relax.Function):
            relax.analysis.post_order_visit(function, visit)
    return found


def packing_of(plain: tirx.PrimFunc, scheduled: tirx.PrimFunc) -> Packing:
    """What a schedule packed: arguments [..., n * columns] that became [n, ..., columns].

    Args:
        plain: the function before it was scheduled.
        scheduled: and after; packed arguments have one axis more.
    """
    pairs = zip(
        tvm_versions.argument_shapes(plain), tvm_versions.argument_shapes(scheduled), strict=True
    )
    return {n: after[-1] for n, (before, after) in enumerate(pairs) if len(after) > len(before)}


def prepack_weights(packings: Mapping[str, Packing]) -> Pass:
    """PrepackWeights: the constants of each call as the function's schedule wants them.

    Needs: functions scheduled, with packed arguments of their new shapes, each packed argument a
    constant in every call (`constant_arguments`). Leaves: `main` with those constants packed, and
    variables of the functions whose types have the new shapes.

    Args:
        packings: by the functions' names; one that is empty or missing changes nothing.
    """

    def apply(module: tvm.IRModule, _context: Any) -> tvm.IRModule:
        wanted = {name: packing for name, packing in packings.items() if packing}
        return _prepacked(module.clone(), wanted) if wanted else module

    return tvm.transform.module_pass(apply, opt_level=3, name="PrepackWeights")


def _prepacked(module: tvm.IRModule, packings: Mapping[str, Packing]) -> tvm.IRModule:
    functions = {}
    for name, packing in packings.items():
        # what a function takes is written in its variable too
        before, function = module.get_global_var(name), module[name]
        functions[name] = relax.BlockBuilder().add_func(function, name), packing
        del module[before]
        module.update_func(functions[name][0], function)
    main = module.get_global_var("main")
    module.update_func(main, _Packer(module, functions).visit_expr(module["main"]))
    return module


def prepack(weights: npt.NDArray[Any], columns: int) -> npt.NDArray[Any]:
    """An array [..., n * columns] as one [n, ..., columns], contiguous, of the same type.

    A tile of a panel of `columns` columns then reads from one end of it to the other: the packing
    of B in Goto and van de Geijn, Anatomy of High-Performance Matrix Multiplication, 2008.
    """
    *rows, last = weights.shape
    panels = weights.reshape(*rows, last // columns, columns)
    return np.ascontiguousarray(np.moveaxis(panels, -2, 0))


@mutator
class _Packer(PyExprMutator):  # type: ignore[misc] # TVM is untyped
    def __init__(
        self, module: tvm.IRModule, functions: Mapping[str, tuple[tvm.ir.GlobalVar, Packing]]
    ) -> None:
        super().__init__(module)
        self._functions = functions

    def visit_call_(self, call: Any) -> Any:
        call = super().visit_call_(call)
        wanted = self._functions.get(call.args[0].name_hint) if _is_call_tir(call) else None
        if wanted is None:
            return call
        function, packing = wanted
        given = list(call.args[1].fields)
        for number, columns in packing.items():
            weights = tvm_versions.constant_value(given[number])
            given[number] = relax.const(prepack(weights, columns))
        return relax.call_tir(function, given, tvm_versions.type_of(call))


def _is_call_tir(expression: Any) -> bool:
    """Whether an expression calls a function of loops."""
    return isinstance(expression, relax.Call) and expression.op == tvm.ir.Op.get("relax.call_tir")
