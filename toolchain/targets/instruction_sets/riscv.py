"""RISC-V, 64 bits: with vectors of any length from 128 bits (RVV 1.0), and without."""

from __future__ import annotations

import re

from toolchain.targets.instruction_sets import (
    Elf,
    GeneratedCode,
    InstructionSet,
    Kernel,
    LongerVectors,
    Registers,
    VectorScale,
)

LONGER_BITS = 256  # of the form for longer vectors
SCALE_BITS = 64  # llvm.vscale counts in these
# e_flags: RISC-V psABI, "File Header"
FLOAT_ABI, FLOAT_ABI_DOUBLE, RVE = 0x6, 0x4, 0x8
# Vendor kernels of T-Head's older cores set the V bit for their RVV 0.7, which runs no 1.0 code.
THEAD = "0x5b7"
RVV_0_7 = "xtheadvector"
FIRST_WITH_RVV = (6, 5)


class RiscV(InstructionSet):
    """Linux on RV64."""

    def registers(self, code: GeneratedCode) -> Registers:
        """RVV has at least 128 bits; LMUL 8 would leave four groups, enough for vwmacc."""
        if code.has("v"):
            lanes = 8 if code.has(f"zvl{LONGER_BITS}b") else 4
            return Registers(
                lanes=lanes,
                count=32,
                group=4,
                inputs=0,
                steps=2,
                resized=2,
                scalable=True,
                widening=8,
            )
        return Registers(lanes=1, count=32, steps=2)

    def longer(self, code: GeneratedCode) -> LongerVectors | None:
        """VLEN 256, except with RVV of a length that is given."""
        if not code.has("v") or any(feature.startswith("+zvl") for feature in code.mattr):
            return None
        return LongerVectors(
            features=(f"zvl{LONGER_BITS}b",), asked=VectorScale(least=LONGER_BITS // SCALE_BITS)
        )

    def extensions(self, kernel: Kernel) -> set[str]:
        """AT_HWCAP has one bit a letter; the names after these stand in the line `isa`."""
        names = {chr(ord("a") + bit) for bit in range(26) if kernel.hwcap >> bit & 1}
        if match := re.match(r"rv\d+([a-z]*)((?:_[a-z0-9]+)*)", kernel.cpuinfo.get("isa", "")):
            names.update(filter(None, match[2].split("_")))
        version = tuple(int(n) for n in re.findall(r"\d+", kernel.release)[:2])
        if "v" in names and kernel.cpuinfo.get("mvendorid") == THEAD and version < FIRST_WITH_RVV:
            names.remove("v")
            names.add(RVV_0_7)
        return names

    def hint(self, missing: str, extensions: list[str]) -> str:
        """Of a vector unit that is older than the standard."""
        if missing == "v" and RVV_0_7 in extensions:
            return "its vector unit is RVV 0.7, which runs no code for 1.0"
        return ""

    def foreign_abi(self, flags: int) -> str:
        """Everything here is for lp64d."""
        double = flags & FLOAT_ABI == FLOAT_ABI_DOUBLE and not flags & RVE
        return "" if double else "has another float ABI than lp64d"


INSTRUCTION_SET = RiscV(
    name="RISC-V",
    machines={"riscv64": Elf(machine="EM_RISCV", bits=64)},
    triples=("riscv",),
)
