"""One library for vectors of two lengths: a function in two forms, chosen as it runs.

LLVM makes a schedule's vectors of the registers that a CPU has at least: 128 bits with RVV, 256 on
x86-64 with AVX2. That code is right on a CPU with longer ones (RVV at VLEN 256, AVX-512) and leaves
half of each register unused there; code for the longer ones is wrong where they are short. So the
functions that most of a model's work is in are compiled for both, and what is called under the
function's name asks the CPU and goes on to one of them: a few instructions. All others have the
form for short ones alone.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import tvm
from tvm import s_tir, tirx
from tvm_ffi import structural_equal

from toolchain.compile import tvm_versions
from toolchain.compile.tir import target_code, weight_prepacking
from toolchain.compile.tir.default_schedule import ScheduleRule
from toolchain.targets.instruction_sets import FeatureWord, Registers, VectorScale

SHORT, LONG = "_short", "_long"  # after the name of a function: its forms
ARGUMENTS = "edgewright.arguments"  # attribute of a function with two forms: how many it takes
ENTRY = "tirx.is_entry_func"  # attribute of the function that is called as a library's `main`
SHARE = 1 / 1000  # of all values that a model computes: those of a function worth a second form


def longer(target: tvm.target.Target) -> tvm.target.Target | None:
    """The target with longer vectors; None for one whose CPUs all have vectors of one length.

    Raises:
        UsageError: no instruction set is known for the target's triple.
    """
    vectors = target_code.longer_vectors(target)
    if vectors is None:
        return None
    features = [str(feature) for feature in target.attrs.get("mattr", [])]
    more = [f"+{feature}" for feature in vectors.features]
    return tvm.target.Target({**target.export(), "mattr": [*features, *more]})


def heavy(module: tvm.IRModule) -> set[str]:
    """The names of the functions that most of a model's work is in.

    Args:
        module: Relax that calls TIR functions, none of them scheduled yet: how much is computed is
            read off the blocks as TVM legalised and fused them.
    """
    work = {
        variable.name_hint: values(function)
        for variable, function in module.functions_items()
        if isinstance(function, tirx.PrimFunc)
    }
    least = max(1, SHARE * sum(work.values()))
    return {name for name, count in work.items() if count >= least}


def values(function: tirx.PrimFunc) -> int:
    """How many values a function computes, each step of a reduction being one.

    A sum, a clip or a table of exponentials count the same: this only says where the work is. What
    no rule of ours can schedule, or has a size that is not known, has none.
    """
    sch = s_tir.Schedule(function, error_render_level="none")
    try:
        blocks = sch.get_child_blocks(sch.get_sblock("root"))
    except s_tir.ScheduleError:
        return 0
    count = 0
    for block in blocks:
        extents = [variable.dom.extent for variable in sch.get(block).iter_vars]
        if not all(isinstance(extent, tirx.IntImm) for extent in extents):
            return 0
        count += math.prod(int(extent) for extent in extents)
    return count


def forms(
    rule: ScheduleRule, function: tirx.PrimFunc, wide: Registers | None
) -> tuple[tirx.PrimFunc, ...] | None:
    """A function by a rule, and, if longer registers are given, by the same rule on these.

    Both find their weights in one layout: that of the longer ones' tiles, where the others divide
    those, else as they came. So an argument of shape (..., n · columns) that is packed is one of
    (n, ..., columns) in both, and the caller has one constant to turn.

    Args:
        rule: of the target's own registers.
        function: not scheduled, of arguments whose shapes are known.
        wide: the longer registers; None for one form.

    Returns:
        the form for short vectors, then that for long ones; None where the rule doesn't fit.
    """
    if wide is None:
        only = rule.apply(function)
        return None if only is None else (only,)
    longer = replace(rule, registers=wide)
    long = longer.apply(function)
    if long is None:
        return None
    packs = weight_prepacking.packing_of(function, long)
    as_came: dict[str, Any] = {"constant": frozenset()}
    same = {"constant": frozenset(packs), "pack": max(packs.values())} if packs else as_came
    short = replace(rule, **same).apply(function)
    if short is None or weight_prepacking.packing_of(function, short) != packs:
        short = replace(rule, **as_came).apply(function)
        long = replace(longer, **as_came).apply(function)
    assert short is not None, "the rule fits whatever the registers"
    assert long is not None, "it did"
    return short, long


def add(
    module: tvm.IRModule, variable: tvm.ir.GlobalVar, short: tirx.PrimFunc, long: tirx.PrimFunc
) -> None:
    """Put a function's longer form beside the short one, which is in the module already.

    `split` and `choosing` take them apart. Where both are the same loops, there is one form.

    Args:
        module: is changed.
        variable: the function's name in it.
        short: of the same arguments, shapes and layouts as `long`.
        long: the form for longer vectors.
    """
    if structural_equal(short, long, map_free_vars=True):
        return
    name = f"{variable.name_hint}{LONG}"
    module.update_func(variable, short.with_attr(ARGUMENTS, len(short.params)))
    module.update_func(tvm.ir.GlobalVar(name), long.with_attr("global_symbol", name))


def split(module: tvm.IRModule) -> tuple[tvm.IRModule, tvm.IRModule]:
    """The module without the longer forms, and these.

    Args:
        module: scheduled, to which `add` gave the forms; it is not changed.

    Returns:
        two modules: the first is compiled for the target, the second for `longer` of it.
    """
    names = {
        f"{variable.name_hint}{LONG}"
        for variable, function in module.functions_items()
        if ARGUMENTS in (function.attrs or {})
    }
    rest, forms = module.clone(), {}
    for variable, function in list(module.functions_items()):
        if variable.name_hint in names:
            forms[variable] = function
            del rest[variable]
    return rest, tvm.IRModule(forms)


def choosing(target: tvm.target.Target) -> Any:
    """The pass that puts what chooses under the name of each function with two forms.

    It follows MakePackedAPI: the functions take TVM's packed arguments (self, arguments, their
    number, result) by then. What chooses hands its own arguments on: what comes after them on the
    caller's stack, where a result would go, is left alone, since none of these functions returns
    any.

    Args:
        target: of the short forms; one that has longer vectors too.
    """
    vectors = target_code.longer_vectors(target)
    assert vectors is not None, "nothing to choose from"
    asked = vectors.asked

    def choose(module: tvm.IRModule, _context: Any) -> tvm.IRModule:
        for variable, short in list(module.functions_items()):
            if ARGUMENTS not in (short.attrs or {}):
                continue
            name, symbol = variable.name_hint, str(short.attrs["global_symbol"])
            stack = short.params[1]  # self, arguments, their number, result

            def call(of: str, stack: Any = stack, count: int = int(short.attrs[ARGUMENTS])) -> Any:
                return tirx.Evaluate(tirx.call_cpacked_lowered(of, stack, 0, count))

            # Of the module's own functions LLVM's code generator wants the name, of others the
            # symbol.
            body = _asking(asked, call(f"{name}{SHORT}"), call(f"{symbol}{LONG}"))
            module.update_func(variable, short.with_body(body))
            form = short.with_attr("global_symbol", f"{symbol}{SHORT}").without_attr(ENTRY)
            module.update_func(tvm.ir.GlobalVar(f"{name}{SHORT}"), form)
        return module

    return tvm.transform.module_pass(choose, opt_level=0, name="DispatchForms")


def _asking(asked: VectorScale | FeatureWord, short: tirx.Stmt, long: tirx.Stmt) -> tirx.Stmt:
    """A statement that goes on to one of two, as the CPU answers."""
    if isinstance(asked, VectorScale):
        return tirx.IfThenElse(tirx.vscale() < asked.least, short, long)
    wanted = tirx.const(asked.mask, "uint32")
    return tvm_versions.read_words(
        tirx.call_extern("handle", asked.function, asked.argument),
        "uint32",
        asked.word + 1,
        lambda words: tirx.IfThenElse(
            tirx.bitwise_and(tirx.BufferLoad(words, [asked.word]), wanted) == wanted, long, short
        ),
    )
