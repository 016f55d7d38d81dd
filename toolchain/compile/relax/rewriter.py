"""What the passes over Relax share: a named pass that rewrites a module's `main`, call by call.

A pass of ours is made by a function in lower case (`decompose_softmax`) and has its name in the
field's way (`DecomposeSoftmax`), by which an instrument or a trace finds it. Its `opt_level` is the
lowest optimisation level whose pipeline has it; run alone, by calling it with a module, it always
works. None has `required`: TVM runs what is listed there once more, and only if it is registered
by name, so what a pass needs before it stands in its docstring and `pipeline` keeps the order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm
from tvm import relax
from tvm.ir.transform import Pass


def main_rewriting_pass(
    mutator: Callable[[tvm.IRModule], Any], *, name: str, opt_level: int
) -> Pass:
    """A module pass whose `main` is what a mutator makes of it.

    Functions of the module that nothing reaches from `main` afterwards are removed. Types are those
    that the mutator's builder infers; nothing is assumed of the module but that it has a `main`.

    Args:
        mutator: makes the PyExprMutator of a module.
        name: of the pass.
        opt_level: the lowest that has it.
    """

    def rewrite(module: tvm.IRModule, _context: Any) -> tvm.IRModule:
        main, rewriter = module.get_global_var("main"), mutator(module)
        rewriter.builder_.update_func(main, rewriter.visit_expr(module["main"]))
        return relax.transform.DeadCodeElimination(["main"])(rewriter.builder_.get())

    return tvm.transform.module_pass(rewrite, opt_level=opt_level, name=name)


def is_call(expression: Any, *names: str) -> bool:
    """Whether an expression calls one of Relax's operators, such as "nn.conv2d"."""
    operator = getattr(expression, "op", None)
    return isinstance(operator, tvm.ir.Op) and operator.name in {f"relax.{n}" for n in names}
