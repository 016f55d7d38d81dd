"""What the instruction set of a TVM target has: the one place where the two meet."""

from __future__ import annotations

from dataclasses import replace

import tvm
from tvm.target.codegen import target_has_features

from toolchain import targets
from toolchain.targets import Caches, instruction_sets
from toolchain.targets.instruction_sets import (
    DotProduct,
    GeneratedCode,
    InstructionSet,
    LongerVectors,
    Registers,
)


def registers(target: tvm.target.Target) -> Registers:
    """The vector registers that a target's code may use; the short ones, where CPUs differ.

    Args:
        target: with the name of one of ours as its tag, if its caches are to count.

    Raises:
        UsageError: no instruction set is known for the target's triple, or its tag is no name.
    """
    known, code = _described(target)
    return replace(known.registers(code), kept=kept(target))


def kept(target: tvm.target.Target) -> int:
    """Bytes that stay in a core's caches while others pass through.

    Raises:
        UsageError: the target has a tag that is no name of ours.
    """
    return (targets.target(target.tag).caches if target.tag else Caches()).kept()


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


def widens(target: tvm.target.Target) -> bool:
    """Whether a target's int8 become float32 as they are loaded; see `InstructionSet`.

    Raises:
        UsageError: no instruction set is known for the target's triple.
    """
    known, _ = _described(target)
    return known.widens


def adds_short_products(target: tvm.target.Target) -> bool:
    """Whether one instruction of a target adds products of int16 to int32, a vector at a time.

    Raises:
        UsageError: no instruction set is known for the target's triple.
    """
    return registers(target).widening is not None


def _described(target: tvm.target.Target) -> tuple[InstructionSet, GeneratedCode]:
    attributes = target.attrs
    code = GeneratedCode(
        mcpu=str(attributes.get("mcpu", "")),
        mattr=tuple(str(feature) for feature in attributes.get("mattr", [])),
        has=lambda feature: bool(target_has_features(feature, target)),
    )
    return instruction_sets.of_triple(str(attributes.get("mtriple", ""))), code
