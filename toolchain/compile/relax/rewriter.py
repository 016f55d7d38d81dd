"""What the passes over Relax have in common: a module's `main`, call by call."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax


def rewritten(module: tvm.IRModule, rewriter: Any) -> tvm.IRModule:
    """A module whose `main` is what a PyExprMutator of it makes of that, without what is unused."""
    main = module.get_global_var("main")
    rewriter.builder_.update_func(main, rewriter.visit_expr(module["main"]))
    return relax.transform.DeadCodeElimination(["main"])(rewriter.builder_.get())


def is_call(expression: Any, *names: str) -> bool:
    """Whether an expression is a call of one of Relax's operators, such as "nn.conv2d"."""
    operator = getattr(expression, "op", None)
    return isinstance(operator, tvm.ir.Op) and operator.name in {f"relax.{n}" for n in names}
