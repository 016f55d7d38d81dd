"""x86: SSE, AVX2, and AVX-512 where the device has it."""

from __future__ import annotations

from toolchain.targets.instruction_sets import (
    Elf,
    FeatureWord,
    GeneratedCode,
    InstructionSet,
    LongerVectors,
    Registers,
)

# What x86-64-v4 has beside x86-64-v3: by LLVM's names, and as bits of EBX in leaf 7 of cpuid.
AVX512 = {"avx512f": 16, "avx512dq": 17, "avx512cd": 28, "avx512bw": 30, "avx512vl": 31}
# glibc's, since 2.33: the four words of a leaf as the CPU gives them, then four of what may be
# used, in which kernel and user (GLIBC_TUNABLES) have a say. Leaf 7 has number 1 there.
CPUID, LEAF_7, USABLE_EBX = "__x86_get_cpuid_feature_leaf", 1, 5


class X86(InstructionSet):
    """Linux on PCs; only those of 64 bits are built for."""

    def registers(self, code: GeneratedCode) -> Registers:
        """Of SSE, AVX or AVX-512."""
        if code.has("avx512f"):
            return Registers(lanes=16, count=32)
        return Registers(lanes=8 if code.has("avx") else 4, count=16)

    def longer(self, code: GeneratedCode) -> LongerVectors | None:
        """AVX-512 beside AVX2; only the levels, such as x86-64-v3, are of many CPUs."""
        many = code.mcpu.startswith("x86-64")
        if not many or not code.has("avx2") or code.has("avx512f"):
            return None
        return LongerVectors(
            features=tuple(AVX512),
            asked=FeatureWord(
                function=CPUID,
                argument=LEAF_7,
                word=USABLE_EBX,
                mask=sum(1 << bit for bit in AVX512.values()),
            ),
        )


INSTRUCTION_SET = X86(
    name="x86",
    machines={
        "x86_64": Elf(machine="EM_X86_64", bits=64),
        "i686": Elf(machine="EM_386", bits=32),
    },
    triples=("x86_64",),
    cpuinfo=frozenset({"vendor_id", "flags"}),
    widens=True,
)
