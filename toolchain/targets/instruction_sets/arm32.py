"""Arm, 32 bits, with NEON and hard float."""

from __future__ import annotations

from toolchain.targets.instruction_sets import (
    Elf,
    GeneratedCode,
    InstructionSet,
    Kernel,
    Registers,
    bits,
    named,
)

# Linux, arch/arm/include/uapi/asm/hwcap.h, named as in /proc/cpuinfo
HWCAP = {
    1: "half", 2: "thumb", 6: "vfp", 12: "neon", 13: "vfpv3", 16: "vfpv4", 17: "idiva",
    18: "idivt", 19: "vfpd32",
}  # fmt: skip
HWCAP2 = {4: "crc32"}
SOFT_FLOAT = 0x200  # e_flags: ELF for the Arm Architecture, ABI 5


class Arm32(InstructionSet):
    """Linux on ARMv7-A."""

    def registers(self, code: GeneratedCode) -> Registers:
        """NEON's q0 to q15: half of what AArch64 has."""
        del code
        return Registers(lanes=4, count=16, indexed=True)

    def extensions(self, kernel: Kernel) -> set[str]:
        """What AT_HWCAP and /proc/cpuinfo say."""
        return bits(kernel.hwcap, HWCAP) | bits(kernel.hwcap2, HWCAP2) | named(kernel)

    def foreign_abi(self, flags: int) -> str:
        """Everything here passes floats in registers of their own."""
        return "has the soft float ABI" if flags & SOFT_FLOAT else ""


INSTRUCTION_SET = Arm32(
    name="Arm, 32 bits",
    machines={"armv7l": Elf(machine="EM_ARM", bits=32)},
    triples=("arm", "thumb"),
    float_abi="arm-linux-gnueabihf",
)
