"""What the instruction set of a TVM target has: the one place where the two meet."""

from __future__ import annotations

import tvm
from tvm.target.codegen import target_has_features

from toolchain.targets import instruction_sets
from toolchain.targets.instruction_sets import (
    DotProduct,
    GeneratedCode,
    InstructionSet,
    LongerVectors,
    Registers,
)


def registers(target: tvm.target.Target) -> Registers:
    """The vector registers that a target's code may use; the short ones, where CPUs differ.

    Raises:
        UsageError: no instruction set is known for the target's triple.
    """
    known, code = _described(target)
    return known.registers(code)


def longer_vectors(target: tvm.target.Target) -> LongerVectors | None:
    """The longer vectors that a CPU of a target may have; None where all have the same.

    Raises:
        UsageError: no instruction set is known for the target's triple.
    """
    known, code = _described(target)
    return known.longer(code)


def dot_product(target: tvm.target.Target) -> DotProduct | None:
    """A target's instruction for products of int8; None for most.

    Raises:
        UsageError: no instruction set is known for the target's triple.
    """
    known, code = _described(target)
    return known.dot_product(code)


def _described(target: tvm.target.Target) -> tuple[InstructionSet, GeneratedCode]:
    attributes = target.attrs
    code = GeneratedCode(
        mcpu=str(attributes.get("mcpu", "")),
        mattr=tuple(str(feature) for feature in attributes.get("mattr", [])),
        has=lambda feature: bool(target_has_features(feature, target)),
    )
    return instruction_sets.of_triple(str(attributes.get("mtriple", ""))), code
