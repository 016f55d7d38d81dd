"""Max, Min, Sum and Mean of several tensors as operators of two, which fusion and layouts know."""

from __future__ import annotations

import functools
from typing import Any

from tvm import relax
from tvm.ir.transform import Pass
from tvm.relax.expr_functor import PyExprMutator, mutator

from toolchain.compile import tvm_versions
from toolchain.compile.relax.rewriter import is_call, main_rewriting_pass

OF_TWO = {
    "max": relax.op.maximum,
    "min": relax.op.minimum,
    "sum": relax.op.add,
    "mean": relax.op.add,
}


def simplify_stack() -> Pass:
    """SimplifyStack: a reduction over tensors that were stacked for it, one after the other.

    TVM's ONNX importer broadcasts the inputs of Max, Min, Sum and Mean to one shape, stacks them in
    memory and reduces that along its first axis. ConvertLayout takes the process down on a stack of
    numbers (it divides by their rank).

    Needs: Relax as imported. Leaves: `maximum`, `minimum` or `add` of the tensors before they were
    broadcast, for a mean times one over their number; a stack that others read, or that is reduced
    along other axes, as it was.
    """
    return main_rewriting_pass(_Simplifier, name="SimplifyStack", opt_level=0)


@mutator
class _Simplifier(PyExprMutator):  # type: ignore[misc] # TVM is untyped
    def visit_call_(self, call: Any) -> Any:
        call = super().visit_call_(call)
        if not is_call(call, *OF_TWO) or call.attrs.keepdims:
            return call
        stacked = self._bound(call.args[0])
        along = call.attrs.axis
        if not is_call(stacked, "stack") or along is None or [int(a) for a in along] != [0]:
            return call
        fields = self._bound(stacked.args[0])
        if int(stacked.attrs.axis) or not isinstance(fields, relax.Tuple):
            return call
        kind = call.op.name.removeprefix("relax.")
        parts = [self._before_broadcast(field) for field in fields.fields]
        result = functools.reduce(
            lambda one, other: self.builder_.emit(OF_TWO[kind](one, other)), parts
        )
        if kind == "mean":
            share = relax.const(1 / len(parts), tvm_versions.element_type(call))
            result = relax.op.multiply(result, share)
        shape = tvm_versions.type_of(call).shape
        return relax.op.broadcast_to(result, shape) if len(parts) == 1 else result

    def _bound(self, expression: Any) -> Any:
        """What a variable stands for."""
        if isinstance(expression, relax.Var):
            return self.lookup_binding(expression)
        return expression

    def _before_broadcast(self, expression: Any) -> Any:
        value = self._bound(expression)
        return value.args[0] if is_call(value, "broadcast_to") else expression
