"""Ends of fusions, so that no function holds more copies of an expression than LLVM can compile.

A schedule writes what is computed before into each place where it is read. What is read twice is
computed twice, and an exponential of an exponential is worked out by TVM's passes in time that
doubles with each: two Mish one after the other took minutes, an LSTM's step more. So is a number
that is scaled in 64 bits, which each scaling reads twice: the six in a row of a detector's head
took as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm
from tvm import relax, tirx
from tvm.ir.transform import Pass
from tvm.relax.expr_functor import PyExprMutator, mutator

from toolchain.compile import tvm_versions
from toolchain.compile.relax.rewriter import is_call, main_rewriting_pass

PATTERN = "op_pattern"  # what TVM's FuseOps goes by
INJECTIVE, OPAQUE = 2, 8  # up to the first a function is written into its readers; never the second
INSIDE = 1  # exponentials in the argument of another
TOGETHER = 8  # exponentials, copies counted, in one value
PLAIN = 1 / 16  # of an exponential: a function without any
SCALED = 1 / 2  # of one: a function of products in 64 bits
# A function that binds more than an exponential does names its argument more often (tanh, erf).
BINDINGS, MORE = 6, 2


def bound_fusion() -> Pass:
    """BoundFusion: functions that would hold too many exponentials are not fused.

    Each function of exponentials counts as one, tanh and erf as two, and what is scaled in 64 bits
    as half, with what its argument holds; where a value is read more than once, all that it holds
    counts as often. What goes beyond INSIDE or TOGETHER gets the pattern of an opaque function:
    FuseOps then leaves it alone, and what it reads is a value in memory. A network whose
    activations follow a convolution or a product each has none.

    Needs: AnnotateTIROpPattern; no FuseOps yet. Leaves: `main`, which calls copies of those.
    """
    return main_rewriting_pass(_Bounder, name="BoundFusion", opt_level=1)


@mutator
class _Bounder(PyExprMutator):  # type: ignore[misc] # TVM is untyped
    def __init__(self, module: tvm.IRModule) -> None:
        super().__init__(module)
        self.module = module
        self.held: dict[Any, float] = {}  # a variable -> exponentials that its readers would hold
        self.known: dict[str, tuple[float, list[int]]] = {}

    def visit_var_binding_(self, binding: Any) -> None:
        call = binding.value
        function = self.module[call.args[0]] if is_call(call, "call_tir") else None
        pattern = None if function is None else (function.attrs or {}).get(PATTERN)
        if function is None or pattern is None or int(pattern) > INJECTIVE:
            super().visit_var_binding_(binding)
            return
        variable, given = call.args[0], list(call.args[1].fields)
        if variable.name_hint not in self.known:
            self.known[variable.name_hint] = _read(function)
        weight, reads = self.known[variable.name_hint]
        inside = _sum(reads, [self.held.get(value, 0.0) for value in given])
        together = inside + weight
        if (weight >= 1 and inside > INSIDE + PLAIN * TOGETHER) or together > TOGETHER:
            alone = self.builder_.add_func(
                function.with_attr(PATTERN, OPAQUE), f"{variable.name_hint}_alone"
            )
            given = [self.visit_expr(value) for value in given]
            moved = relax.call_tir(alone, given, tvm_versions.types_of(call))
            self.set_var_remap(binding.var, self._bound(binding, moved))
            return
        self.held[binding.var] = together
        super().visit_var_binding_(binding)

    def _bound(self, binding: Any, value: Any) -> Any:
        if isinstance(binding.var, relax.DataflowVar):
            return self.builder_.emit(value)
        return self.builder_.emit_output(value)


def _sum(reads: Sequence[int], held: Sequence[float]) -> float:
    return sum(count * each for count, each in zip(reads, held, strict=False))


def _read(function: tirx.PrimFunc) -> tuple[float, list[int]]:
    """As how many exponentials a function counts, and how often it names each of its arguments."""
    lets: list[Any] = []
    long: list[Any] = []
    loads: list[int] = [0] * len(tvm_versions.argument_buffers(function))

    def count(load: Any) -> None:
        index = tvm_versions.argument_index(function, load)
        if index is not None:
            loads[index] += 1

    def scaled(product: Any) -> None:
        # of a number, not of an index
        if isinstance(product.a, tirx.Cast) and tvm_versions.scalar_type(product) == "int64":
            long.append(product)

    tvm_versions.visit(function.body, tirx.Mul, scaled)
    tvm_versions.visit(function.body, tirx.Let, lets.append)
    tvm_versions.visit(function.body, tvm_versions.LOAD, count)
    if lets:
        return (MORE if len(lets) > BINDINGS else 1), loads
    return (SCALED if long else PLAIN), loads
