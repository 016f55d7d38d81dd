"""What TVM 0.25, the compiler from source, says otherwise than the release."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax


def constant(expression: Any) -> Any:
    """A constant's value, as an array; None for any other expression."""
    kind = getattr(tvm.ir, "GenericConst", None)
    if kind is None:
        return expression.data.numpy() if isinstance(expression, relax.Constant) else None
    return expression.value.numpy() if isinstance(expression, kind) else None


def shape(expression: Any) -> list[int]:
    """The shape of a tensor whose sizes are all known."""
    described = expression.ty if hasattr(expression, "ty") else expression.struct_info
    return [int(size) for size in described.shape.values]


def steps_with(index: Any, variable: Any) -> bool:
    """Whether an index is a variable plus something that does not depend on it."""
    algebra: Any = getattr(tvm, "sym", None) or tvm.arith
    step = algebra.detect_linear_equation(index, [variable])
    return bool(step) and bool(algebra.Analyzer().can_prove_equal(step[0], 1))


def depends(index: Any, variable: Any) -> bool:
    """Whether an index changes with a variable."""
    algebra: Any = getattr(tvm, "sym", None) or tvm.arith
    step = algebra.detect_linear_equation(index, [variable])
    return not step or not algebra.Analyzer().can_prove_equal(step[0], 0)
