"""Constants computed by numpy, before TVM compiles a function for each.

Relax's FoldConstant runs every expression over constants through LLVM: most of a minute for the
weights of DenseNet-121 that are transposed, reshaped and dequantised, milliseconds here; another
half for what the importer makes of each constant index (whether it is negative, and then the size
of its axis added), of which a recurrent layer has one a step. What this doesn't know is left to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relax, tirx
from tvm.ir.transform import Pass
from tvm.relax.expr_functor import PyExprMutator, mutator

from toolchain.compile import tvm_versions
from toolchain.compile.relax.quantization import dequantized
from toolchain.compile.relax.rewriter import is_call, main_rewriting_pass

Array = npt.NDArray[Any]
# Of whole and true numbers alone, in which numpy and TVM can't differ.
ARITHMETIC: Mapping[str, Callable[..., Array]] = {
    "relax.add": np.add,
    "relax.less": np.less,
    "relax.where": np.where,
}
TAKEN = ("fast", "wrap")  # modes in which an index that is inside is taken


def fold_constant_by_numpy() -> Pass:
    """FoldConstantByNumpy: operators of weights and of indices done, where all is constant.

    These are `permute_dims`, `reshape` and `dequantize`; `shape_to_tensor` of a known shape; `add`,
    `less`, `where` and `take` of whole numbers.

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
        if is_call(call, "shape_to_tensor"):
            sizes = _known_sizes(call.args[0])
            return call if sizes is None else relax.const(sizes, "int64")
        if is_call(call, "permute_dims", "reshape", "dequantize"):
            value = self._constant(call.args[0])
            return call if value is None else _of_weights(call, value)
        if is_call(call, "add", "less", "where", "take"):
            values = [self._constant(argument) for argument in call.args]
            if all(value is not None and value.dtype.kind in "biu" for value in values):
                return _of_indices(call, values)
        return call

    def _constant(self, expression: Any) -> Any:
        if isinstance(expression, relax.Var):
            expression = self.lookup_binding(expression)
        return tvm_versions.constant_value(expression)


def _of_weights(call: Any, value: Array) -> Any:
    if call.op.name == "relax.dequantize":
        number = dequantized(call, value)
        return call if number is None else relax.const(number)
    if call.op.name == "relax.permute_dims":
        axes = None if call.attrs.axes is None else [int(a) for a in call.attrs.axes]
        return _typed(call, np.transpose(value, axes))
    return _typed(call, value.reshape(tvm_versions.shape(call)))


def _typed(call: Any, value: Array) -> Any:
    """A constant of the call's own type, which is said: one of int64 becomes an int32 else."""
    kind = tvm_versions.element_type(call)
    return relax.const(np.asarray(value, kind, order="C"), kind)


def _of_indices(call: Any, values: list[Array]) -> Any:
    if call.op.name == "relax.take":
        of, index = values
        axis = None if call.attrs.axis is None else int(call.attrs.axis)
        size = of.size if axis is None else of.shape[axis]
        if str(call.attrs.mode) not in TAKEN or ((index < 0) | (index >= size)).any():
            return call
        found = np.take(of, index, axis)
    else:
        found = ARITHMETIC[call.op.name](*values)
    return _typed(call, np.asarray(found))


def _known_sizes(shape: Any) -> Array | None:
    """The sizes that a shape expression holds, of int64; None where one is known as it runs."""
    sizes = getattr(tvm_versions.type_of(shape), "values", None)
    if sizes is None or not all(isinstance(size, tirx.IntImm) for size in sizes):
        return None
    return np.array([int(size) for size in sizes], np.int64)
