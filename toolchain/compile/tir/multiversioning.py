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
from tvm.target.codegen import target_has_features
from tvm_ffi import structural_equal

from toolchain.compile import tvm_versions
from toolchain.compile.tir import weight_prepacking
from toolchain.compile.tir.default_schedule import Rule
from toolchain.compile.tir.register_blocking import Registers

BITS = 256  # of the longer form with RVV
# What x86-64-v4 has beside x86-64-v3: by LLVM's names, and as bits of EBX in leaf 7 of cpuid.
AVX512 = {"avx512f": 16, "avx512dq": 17, "avx512cd": 28, "avx512bw": 30, "avx512vl": 31}
# glibc's, since 2.33: the four words of a leaf as the CPU gives them, then four of what may be
# used, in which kernel and user (GLIBC_TUNABLES) have a say. Leaf 7 has number 1 there.
CPUID, LEAF_7, USABLE_EBX = "__x86_get_cpuid_feature_leaf", 1, 5
SHORT, LONG = "_short", "_long"  # after the name of a function: its forms
ARGUMENTS = "edgewright.arguments"  # attribute of a function with two forms: how many it takes
ENTRY = "tirx.is_entry_func"  # attribute of the function that is called as a library's `main`
SHARE = 1 / 1000  # of all values that a model computes: those of a function worth a second form


def longer(target: tvm.target.Target) -> tvm.target.Target | None:
    """The target with longer vectors; None for one whose CPUs all have vectors of one length.

    That is one without vectors, with RVV of a given length, or of an x86-64 that is named: only the
    levels, x86-64-v3, are of many CPUs.
    """
    features = [str(feature) for feature in target.attrs.get("mattr", [])]
    if target_has_features("v", target):
        more = [] if any(f.startswith("+zvl") for f in features) else [f"+zvl{BITS}b"]
    elif str(target.attrs.get("mcpu", "")).startswith("x86-64"):
        both = target_has_features("avx2", target) and not target_has_features("avx512f", target)
        more = [f"+{feature}" for feature in AVX512] if both else []
    else:
        more = []
    return tvm.target.Target({**target.export(), "mattr": [*features, *more]}) if more else None


def heavy(module: tvm.IRModule) -> set[str]:
    """The names of the functions, not scheduled yet, that most of a model's work is in."""
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
    rule: Rule, function: tirx.PrimFunc, wide: Registers | None
) -> tuple[tirx.PrimFunc, ...] | None:
    """A function by a rule, and, if these are given, by the same rule on longer registers.

    Both find their weights in one layout: that of the longer ones' tiles, where the others divide
    those, else as they came.

    Returns:
        None where the rule doesn't fit.
    """
    if wide is None:
        only = rule.apply(function)
        return None if only is None else (only,)
    longer = replace(rule, registers=wide)
    long = longer.apply(function)
    if long is None:
        return None
    packs = weight_prepacking.packs(function, long)
    as_came: dict[str, Any] = {"constant": frozenset()}
    same = {"constant": frozenset(packs), "pack": max(packs.values())} if packs else as_came
    short = replace(rule, **same).apply(function)
    if short is None or weight_prepacking.packs(function, short) != packs:
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
    """
    if structural_equal(short, long, map_free_vars=True):
        return
    name = f"{variable.name_hint}{LONG}"
    module.update_func(variable, short.with_attr(ARGUMENTS, len(short.params)))
    module.update_func(tvm.ir.GlobalVar(name), long.with_attr("global_symbol", name))


def split(module: tvm.IRModule) -> tuple[tvm.IRModule, tvm.IRModule]:
    """The module without the longer forms, and these."""
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

    It follows MakePackedAPI. What chooses hands its own arguments on: what comes after them on the
    caller's stack, where a result would go, is left alone, since none of these functions returns
    any.

    Args:
        target: of the short forms.
    """
    go_on = _by_rvv if target_has_features("v", target) else _by_cpuid

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
            body = go_on(call(f"{name}{SHORT}"), call(f"{symbol}{LONG}"))
            module.update_func(variable, short.with_body(body))
            form = short.with_attr("global_symbol", f"{symbol}{SHORT}").without_attr(ENTRY)
            module.update_func(tvm.ir.GlobalVar(f"{name}{SHORT}"), form)
        return module

    return tvm.transform.module_pass(choose, opt_level=0)


def _by_rvv(short: tirx.Stmt, long: tirx.Stmt) -> tirx.Stmt:
    """Go on by how long the vectors are: llvm.vscale counts in units of 64 bits."""
    return tirx.IfThenElse(tirx.vscale() < BITS // 64, short, long)


def _by_cpuid(short: tirx.Stmt, long: tirx.Stmt) -> tirx.Stmt:
    """Go on by whether AVX-512 may be used."""
    wanted = tirx.const(sum(1 << bit for bit in AVX512.values()), "uint32")
    leaf = tirx.call_extern("handle", CPUID, LEAF_7)
    return tvm_versions.reading(
        leaf,
        "uint32",
        USABLE_EBX + 1,
        lambda words: tirx.IfThenElse(
            tirx.bitwise_and(tirx.BufferLoad(words, [USABLE_EBX]), wanted) == wanted, long, short
        ),
    )
