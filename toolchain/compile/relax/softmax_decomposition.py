"""Softmax as the operators it consists of, so that each gets loops of ours.

exp(x - max(x)) / sum(exp(x - max(x))) along an axis: the form of TVM's own function, which holds
two reductions in one and so no schedule of ours (schedules.py takes one at most).
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from toolchain.compile.relax.rewriter import is_call, rewritten


def split_softmax(module: tvm.IRModule) -> tvm.IRModule:
    """`main` with each softmax as maximum, difference, exponential, sum and quotient."""
    return rewritten(module, _Split(module))


@mutator
class _Split(PyExprMutator):  # type: ignore[misc] # TVM is untyped
    def visit_call_(self, call: Any) -> Any:
        call = super().visit_call_(call)
        if not is_call(call, "nn.softmax"):
            return call
        axis, emit = int(call.attrs.axis), self.builder_.emit
        most = emit(relax.op.max(call.args[0], axis=axis, keepdims=True))
        powers = emit(relax.op.exp(emit(relax.op.subtract(call.args[0], most))))
        return relax.op.divide(powers, emit(relax.op.sum(powers, axis=axis, keepdims=True)))
