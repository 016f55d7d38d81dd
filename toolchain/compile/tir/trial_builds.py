"""Each function of a module built alone, to find the one that LLVM refuses or that takes it down.

A compilation does without it; where one failed, this finds what to leave to TVM's own loops, and
the name for the error where these fail too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import tvm
from tvm import tirx

from toolchain.compile.tir.multiversioning import LONG

Try = Callable[[Callable[[], object]], str]  # runs something; why it failed, empty if it did not


def refused(
    module: tvm.IRModule, build: Callable[[tvm.IRModule], object], attempt: Try
) -> dict[str, str]:
    """The functions of loops that can't be built, by name, and why.

    Args:
        module: scheduled or not; a function and its form for longer vectors go together.
        build: builds a module without Relax.
        attempt: tries to: `in_process`, or something that survives a crash.
    """
    failures = {}
    for name in _names(module):
        alone = tvm.IRModule(
            {
                tvm.ir.GlobalVar(form): module[form].with_attr("global_symbol", form)
                for form in (name, f"{name}{LONG}")
                if _holds(module, form)
            }
        )
        why = attempt(lambda alone=alone: build(alone))  # type: ignore[misc] # of this turn
        if why:
            failures[name] = why
    return failures


def only(module: tvm.IRModule, names: Collection[str]) -> tvm.IRModule:
    """A module's functions of these names."""
    kept = {v: f for v, f in module.functions_items() if v.name_hint in names}
    return tvm.IRModule(kept)


def in_process(work: Callable[[], object]) -> str:
    """Try something in this process: a crash takes it down."""
    try:
        work()
    except Exception as error:  # noqa: BLE001 # whatever TVM or LLVM raises
        return last_line(error)
    return ""


def last_line(error: BaseException) -> str:
    """What an error says at its end, where TVM says what is wrong."""
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def _names(module: tvm.IRModule) -> Iterable[str]:
    names = {v.name_hint for v, f in module.functions_items() if isinstance(f, tirx.PrimFunc)}
    return sorted(
        n for n in names if n.removesuffix(LONG) == n or n.removesuffix(LONG) not in names
    )


def _holds(module: tvm.IRModule, name: str) -> bool:
    return any(variable.name_hint == name for variable in module.get_global_vars())
