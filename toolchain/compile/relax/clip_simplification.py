"""Clip with constant bounds as maximum and minimum, which fusion and the layout pass know."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.ir.transform import Pass
from tvm.relax.expr_functor import PyExprMutator, mutator

from toolchain.compile import tvm_versions
from toolchain.compile.relax.rewriter import main_rewriting_pass

BOUND = re.compile(r"(maximum|minimum)\d*")  # the importer's functions that compare with a bound


def simplify_clip() -> Pass:
    """SimplifyClip: the importer's functions that clip by a constant as operators of Relax.

    TVM's ONNX importer asks at run time whether each bound is a NaN (isnan, where), and compares in
    a function of its own that neither fusion nor the layout pass looks into.

    Needs: Relax as imported, with the bound a constant. Leaves: `maximum` and `minimum` of the same
    tensor and a constant of rank 0; a bound that is computed, or is NaN, as it was. What only asked
    about the bounds is removed.
    """
    return main_rewriting_pass(_Simplifier, name="SimplifyClip", opt_level=0)


@mutator
class _Simplifier(PyExprMutator):  # type: ignore[misc] # TVM is untyped
    def visit_call_(self, call: Any) -> Any:
        call = super().visit_call_(call)
        if call.op != tvm.ir.Op.get("relax.call_tir"):
            return call
        kind = BOUND.fullmatch(call.args[0].name_hint)
        arguments = call.args[1].fields
        if kind is None or len(arguments) != 2:
            return call
        bound = arguments[1]
        if isinstance(bound, relax.Var):
            bound = self.lookup_binding(bound)
        if not isinstance(bound, relax.Call) or bound.op != tvm.ir.Op.get("relax.where"):
            return call
        constant = bound.args[2]
        value = tvm_versions.constant_value(constant)
        if value is None or np.isnan(value).any():
            return call
        operator = relax.op.maximum if kind[1] == "maximum" else relax.op.minimum
        return operator(arguments[0], constant)
