"""Arm, 64 bits: NEON, and from ARMv8.2 on dot products of int8."""

from __future__ import annotations

from toolchain.targets.instruction_sets import (
    DotProduct,
    Elf,
    GeneratedCode,
    InstructionSet,
    Kernel,
    Registers,
    bits,
    named,
)

# Linux, arch/arm64/include/uapi/asm/hwcap.h, named as in /proc/cpuinfo
HWCAP = {
    0: "fp", 1: "asimd", 3: "aes", 4: "pmull", 5: "sha1", 6: "sha2", 7: "crc32", 8: "atomics",
    9: "fphp", 10: "asimdhp", 12: "asimdrdm", 20: "asimddp", 22: "sve",
}  # fmt: skip
HWCAP2 = {1: "sve2", 13: "i8mm", 14: "bf16"}


class AArch64(InstructionSet):
    """Linux on ARMv8-A."""

    def registers(self, code: GeneratedCode) -> Registers:
        """NEON, which all of them have."""
        del code
        return Registers(lanes=4, count=32, indexed=True)

    def dot_product(self, code: GeneratedCode) -> DotProduct | None:
        """SDOT."""
        if not code.has("dotprod"):
            return None
        return DotProduct(lanes=4, llvm="llvm.aarch64.neon.sdot.v4i32.v16i8")

    def extensions(self, kernel: Kernel) -> set[str]:
        """What AT_HWCAP and /proc/cpuinfo say."""
        return bits(kernel.hwcap, HWCAP) | bits(kernel.hwcap2, HWCAP2) | named(kernel)


INSTRUCTION_SET = AArch64(
    name="AArch64",
    machines={"aarch64": Elf(machine="EM_AARCH64", bits=64)},
    triples=("aarch64",),
)
