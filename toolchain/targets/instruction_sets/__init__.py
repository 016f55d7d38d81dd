"""The instruction sets that targets have: one module of this folder each, holding INSTRUCTION_SET.

No other module of the product knows one of them. A user's own stand in `instruction_sets/` of a
folder that `EDGEWRIGHT_PLUGINS` names. Data and plain rules only: what schedules make of these in
TVM's language stands in `toolchain/compile/tir/`. Nothing here imports TVM or anything heavy.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from toolchain.core import plugins
from toolchain.core.errors import UsageError

KIND = "instruction_sets"
KEPT = 256 << 10  # bytes: half of the second level of a core of a Raspberry Pi 5


@dataclass(frozen=True, kw_only=True)
class Registers:
    """A CPU's vector registers, and the cache behind them, as far as tiles depend on them.

    Attributes:
        lanes: float32 in one register; 1 where there are no vectors.
        count: how many registers.
        group: how many of them one instruction may work on (RVV's LMUL; 1 elsewhere).
        inputs: how many the input needs beside sums and weights; none where instructions take a
            scalar from elsewhere.
        indexed: whether a multiply-add takes one lane of a register as its factor, so that as many
            inputs as there are lanes can be loaded at once.
        overhead: instructions of a loop besides its work.
        steps: of a reduction in one turn of its loop, where there are registers for them.
        resized: instructions that a number of lanes that is no power of two takes in each turn of a
            loop, where an instruction may work on any number (RVV's vl); else none.
        scalable: whether the compiler is not told how long a register is, only the least.
        kept: bytes that stay in a core's caches while others pass through: the target's.
        widening: registers of int32 that one instruction adds the products of int16 to; none where
            sums of whole numbers are added faster in float32.
    """

    lanes: int
    count: int
    group: int = 1
    inputs: int = 1
    indexed: bool = False
    overhead: int = 3
    steps: int = 1
    resized: int | None = None
    scalable: bool = False
    kept: int = KEPT
    widening: int | None = None

    def of_integers(self) -> Registers:
        """The same for sums in int32 of products of int16, with twice the steps in a turn."""
        if self.widening is None:
            return self
        return replace(self, group=self.widening, steps=2 * self.steps)

    def grouped(self, width: int) -> int:
        """How many registers a vector of that many float32 takes: a power of two."""
        return 1 << max(0, -(-width // self.lanes) - 1).bit_length()

    def loads(self, width: int) -> int:
        """Instructions that bring a vector of that many float32 into registers, for each of these.

        LLVM loads the parts of a number of lanes that is no power of two, and puts them together.
        """
        return 1 if self.resized is not None else 2 * width.bit_count() - 1

    def besides(self, width: int) -> int:
        """Instructions in a turn of a loop besides its work on vectors of that many float32."""
        odd = width > self.lanes and width & (width - 1)
        return self.overhead + (self.resized or 0 if odd else 0)


@dataclass(frozen=True, kw_only=True)
class VectorScale:
    """Asks the CPU how long its vectors are.

    Attributes:
        least: llvm.vscale from which the longer form is right.
    """

    least: int


@dataclass(frozen=True, kw_only=True)
class FeatureWord:
    """Asks the C library which features may be used: bits of a word in a table.

    Attributes:
        function: of the C library, from an int32 to a pointer to uint32.
        argument: what it is given.
        word: which of the words there.
        mask: the bits that the longer form needs, all of them.
    """

    function: str
    argument: int
    word: int
    mask: int


@dataclass(frozen=True, kw_only=True)
class LongerVectors:
    """Vectors that some CPUs of a target have and others have not.

    Attributes:
        features: what LLVM calls them, to be added to the target's own.
        asked: what is asked on the device as a function is called.
    """

    features: tuple[str, ...]
    asked: VectorScale | FeatureWord


@dataclass(frozen=True, kw_only=True)
class DotProduct:
    """An instruction that adds the products of four neighbouring int8 to each int32 of a register.

    Attributes:
        lanes: int32 in a register.
        llvm: its intrinsic, which takes the sums (int32, `lanes`), then the weights and the inputs
            (int8, four for each of the lanes).
    """

    lanes: int
    llvm: str


@dataclass(frozen=True, kw_only=True)
class GeneratedCode:
    """What code LLVM generates for a target.

    Attributes:
        mcpu: LLVM's name of the CPU; empty for none given.
        mattr: the features that are named beside it, such as "+v".
        has: whether the code may use a feature, by LLVM's name of it.
    """

    mcpu: str
    mattr: tuple[str, ...]
    has: Callable[[str], bool]


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """What a device's kernel says of its CPU.

    Attributes:
        machine: as `uname -m` says.
        release: as `uname -r` says.
        hwcap: AT_HWCAP.
        hwcap2: AT_HWCAP2.
        cpuinfo: the keys of the first processor in /proc/cpuinfo, in small letters.
    """

    machine: str
    release: str
    hwcap: int
    hwcap2: int
    cpuinfo: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Elf:
    """How ELF files of a machine begin.

    Attributes:
        machine: e_machine, as pyelftools names it.
        bits: 32 or 64.
    """

    machine: str
    bits: int


@dataclass(frozen=True, kw_only=True, eq=False)
class InstructionSet:
    """A family of CPUs that one code generator of LLVM is for.

    Attributes:
        name: as people say it.
        machines: the ELF files of each machine, by the name that `uname -m` gives it.
        triples: how LLVM's triples of it begin.
        float_abi: the Debian multiarch name of its only float ABI that is built for; empty where
            there is one anyway.
        cpuinfo: keys that /proc/cpuinfo has with it and with no other; none where there are none to
            count on.
        widens: whether int8 become float32 as they are loaded, in an instruction or two: then
            constants of int8 may be used in a loop as they are.
    """

    name: str
    machines: Mapping[str, Elf]
    triples: tuple[str, ...]
    float_abi: str = ""
    cpuinfo: frozenset[str] = frozenset()
    widens: bool = False

    def registers(self, code: GeneratedCode) -> Registers:
        """The vector registers that code may use; the short ones, where CPUs differ."""
        raise NotImplementedError

    def longer(self, code: GeneratedCode) -> LongerVectors | None:
        """Longer vectors that a CPU of the target may have; None where all have the same."""
        del code
        return None

    def dot_product(self, code: GeneratedCode) -> DotProduct | None:
        """The instruction for products of int8; None for no such."""
        del code
        return None

    def extensions(self, kernel: Kernel) -> set[str]:
        """The extensions of a device's CPU, by the names that targets.toml uses."""
        return named(kernel)

    def hint(self, missing: str, extensions: list[str]) -> str:
        """What to know of an extension that a device lacks; empty for nothing."""
        del missing, extensions
        return ""

    def foreign_abi(self, flags: int) -> str:
        """What is wrong with the ABI that an ELF file's e_flags say; empty for nothing."""
        del flags
        return ""


def named(kernel: Kernel) -> set[str]:
    """The extensions that /proc/cpuinfo names."""
    return set((kernel.cpuinfo.get("features") or kernel.cpuinfo.get("flags") or "").split())


def bits(word: int, names: Mapping[int, str]) -> set[str]:
    """The names of the bits that are set in a word."""
    return {name for bit, name in names.items() if word >> bit & 1}


def all_instruction_sets() -> list[InstructionSet]:
    """Every instruction set, ours and the user's.

    Raises:
        UsageError: a user's module can't be imported.
    """
    found = plugins.modules(sys.modules[__name__], KIND)
    return [module.INSTRUCTION_SET for module in found if hasattr(module, "INSTRUCTION_SET")]


def of_machine(machine: str) -> InstructionSet | None:
    """The instruction set of a machine, as `uname -m` names it; None for one not known."""
    return next((one for one in all_instruction_sets() if machine in one.machines), None)


def of_triple(triple: str) -> InstructionSet:
    """The instruction set of one of LLVM's triples.

    Raises:
        UsageError: there is none.
    """
    for one in all_instruction_sets():
        if triple.startswith(one.triples):
            return one
    raise UsageError(
        f"the instruction set of {triple or 'a target without a triple'} is not known",
        resolution="add a module for it to toolchain/targets/instruction_sets",
    )


def of_another_machine(kernel: Kernel) -> bool:
    """Whether /proc/cpuinfo is about another kind of CPU than uname: qemu-user shows the host's."""
    present = kernel.cpuinfo.keys()
    own = of_machine(kernel.machine)
    if own is not None and own.cpuinfo and not own.cpuinfo <= present:
        return True
    others = (one for one in all_instruction_sets() if one is not own)
    return any(one.cpuinfo and one.cpuinfo <= present for one in others)
