"""Constants transposed, reshaped and dequantised by numpy, before TVM compiles a function for each.

Relax's FoldConstant runs every expression over constants through LLVM: most of a minute for the
weights of DenseNet-121, milliseconds here. What this doesn't know is left to it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax
from tvm.ir.transform import Pass
from tvm.relax.expr_functor import PyExprMutator, mutator

from toolchain.compile import tvm_versions
from toolchain.compile.relax.quantization import dequantized
from toolchain.compile.relax.rewriter import is_call, main_rewriting_pass


def fold_constant_by_numpy() -> Pass:
    """FoldConstantByNumpy: `permute_dims`, `reshape` and `dequantize` of constants done.

    The constants are of any shape, type and layout; the results have the shape and type that the
    operator's call has, contiguous in memory, and the same values bit for bit.

    Needs: operators of Relax, so before LegalizeOps; after whatever puts them around weights, such
    as the layout pass. Leaves: a constant in the place of each such call, chains of them included.
    """
    return main_rewriting_pass(_Folder, name="FoldConstantByNumpy", opt_level=1)


@mutator
class _Folder(PyExprMutator):  # type: ignore[misc] # TVM is untyped
    def visit_call_(self, call: Any) -> Any:
        call = super().visit_call_(call)
        if not is_call(call, "permute_dims", "reshape", "dequantize"):
            return call
        value = self._constant(call.args[0])
        if value is None:
            return call
        if call.op.name == "relax.dequantize":
            number = dequantized(call, value)
            return call if number is None else relax.const(number)
        if call.op.name == "relax.permute_dims":
            axes = None if call.attrs.axes is None else [int(a) for a in call.attrs.axes]
            return relax.const(np.ascontiguousarray(np.transpose(value, axes)))
        return relax.const(np.ascontiguousarray(value.reshape(tvm_versions.shape(call))))

    def _constant(self, expression: Any) -> Any:
        if isinstance(expression, relax.Var):
            expression = self.lookup_binding(expression)
        return tvm_versions.constant_value(expression)
