"""An instruction set as a user adds one: LoongArch with vectors of 256 bits."""

from __future__ import annotations

from toolchain.targets.instruction_sets import (
    Elf,
    GeneratedCode,
    InstructionSet,
    Kernel,
    Registers,
    bits,
)

HWCAP = {4: "lsx", 5: "lasx"}
FLOAT_ABI, FLOAT_ABI_DOUBLE = 0x7, 0x3


class LoongArch(InstructionSet):
    """Linux on LA64."""

    def registers(self, code: GeneratedCode) -> Registers:
        """LSX has 128 bits, LASX 256."""
        return Registers(lanes=8 if code.has("lasx") else 4, count=32)

    def extensions(self, kernel: Kernel) -> set[str]:
        """What AT_HWCAP says."""
        return bits(kernel.hwcap, HWCAP)

    def foreign_abi(self, flags: int) -> str:
        """Debian has lp64d alone."""
        return "" if flags & FLOAT_ABI == FLOAT_ABI_DOUBLE else "has another float ABI than lp64d"


INSTRUCTION_SET = LoongArch(
    name="LoongArch",
    machines={"loongarch64": Elf(machine="EM_LOONGARCH", bits=64)},
    triples=("loongarch64",),
)
