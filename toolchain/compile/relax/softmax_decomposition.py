"""Softmax as the operators it consists of, so that each gets loops of ours."""

from __future__ import annotations

from typing import Any

from tvm import relax
from tvm.ir.transform import Pass
from tvm.relax.expr_functor import PyExprMutator, mutator

from toolchain.compile.relax.rewriter import is_call, main_rewriting_pass


def decompose_softmax() -> Pass:
    """DecomposeSoftmax: each `nn.softmax` as maximum, difference, exponential, sum and quotient.

    exp(x - max(x)) / sum(exp(x - max(x))) along the operator's axis, for x of any shape and layout:
    the form of TVM's own function, which holds two reductions in one and so gets no schedule of
    ours (`default_schedule` takes one at most).

    Needs: to come after the layout pass, which sets the axis of the one operator, and before
    LegalizeOps. Leaves: no `nn.softmax`; the maximum and the sum keep the axis, with size 1.
    """
    return main_rewriting_pass(_Decomposer, name="DecomposeSoftmax", opt_level=2)


@mutator
class _Decomposer(PyExprMutator):  # type: ignore[misc] # TVM is untyped
    def visit_call_(self, call: Any) -> Any:
        call = super().visit_call_(call)
        if not is_call(call, "nn.softmax"):
            return call
        axis, emit = int(call.attrs.axis), self.builder_.emit
        most = emit(relax.op.max(call.args[0], axis=axis, keepdims=True))
        powers = emit(relax.op.exp(emit(relax.op.subtract(call.args[0], most))))
        return relax.op.divide(powers, emit(relax.op.sum(powers, axis=axis, keepdims=True)))
