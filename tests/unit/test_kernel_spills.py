"""Kernels whose loops keep a sum on the stack are found in a disassembly, and refused."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.fake_executor import FakeExecutor
from toolchain import targets
from toolchain.core.errors import BuildError
from toolchain.wheels import spills
from toolchain.wheels.recipe import Job
from toolchain.wheels.recipes import tflite_runtime

TABLES: dict[str, Any] = tomllib.loads(tflite_runtime.SPILLS.read_text())

# GCC 14 -O2 of f32-gemm-5x16-minmax-fma3-broadcast.c, its inner loop cut short
X86 = """
0000000000000100 <kernel>:
 100:\tvmovaps (%r9),%ymm1
 105:\tvbroadcastss (%rax),%ymm8
 14b:\tvfmadd231ps %ymm1,%ymm4,%ymm12
 151:\tvfmadd213ps -0x18(%rsp),%ymm4,%ymm1
 171:\tvmovaps %ymm1,-0x18(%rsp)
 177:\tjne    100 <kernel>
 179:\tret
"""
HOT = (
    "xnn_f32_gemm_minmax_ukernel_5x16__fma3_broadcast",
    "xnn_f32_igemm_minmax_ukernel_5x16__fma3_broadcast_prfm",
    "xnn_f32_gemm_minmax_ukernel_7x32__avx512f_broadcast",
    "xnn_f32_dwconv_minmax_ukernel_9p16c__fma3",
    "xnn_f32_gemm_minmax_ukernel_4x8__neon_lane_ld64",
    "xnn_f32_gemm_minmax_ukernel_6x8__neonfma_lane_ld64",
    "xnn_f32_gemm_minmax_ukernel_7x4v__rvv",
    "xnn_f32_gemm_minmax_ukernel_4x4__scalar",
)

SUM_ON_THE_STACK = {
    "x86_64": X86,
    "aarch64": """
0000000000000100 <kernel>:
 100:\tldr\tq1, [sp, #16]
 104:\tfmla\tv1.4s, v2.4s, v3.s[0]
 108:\tstr\tq1, [sp, #16]
 10c:\tb.ne\t100 <kernel>  // b.any
 110:\tret
""",
    "armv7l": """
00000100 <kernel>:
 100:\tvldr\td16, [sp, #16]
 104:\tvmla.f32\td16, d2, d3
 108:\tvstr\td16, [sp, #16]
 10c:\tbne\t100 <kernel>
 110:\tbx\tlr
""",
    "riscv64": """
0000000000000100 <kernel>:
 100:\tvl1re32.v\tv8,(t0)
 104:\tvfmacc.vf\tv8,fa5,v1
 108:\tvs1r.v\tv8,(t0)
 10c:\tbnez\ta0,100 <kernel>
 110:\tret
""",
}


def form_of(machine: str) -> spills.Disassembly:
    table = TABLES[machine]
    return spills.Disassembly(jump=table["jump"], load=table["load"], store=table["store"])


def loops(text: str, machine: str) -> list[tuple[int, int]]:
    """(instructions, sums) of each loop found."""
    found = spills.loops(text, form_of(machine), "^kernel")
    return [(loop.instructions, loop.sums) for loop in found]


@pytest.mark.parametrize("machine", SUM_ON_THE_STACK)
def test_a_sum_that_every_turn_reads_and_writes_on_the_stack_is_found(machine: str) -> None:
    turn = 6 if machine == "x86_64" else 4
    assert loops(SUM_ON_THE_STACK[machine], machine) == [(turn, 1)]


@pytest.mark.parametrize("machine", SUM_ON_THE_STACK)
def test_what_no_turn_waits_for_is_not_found(machine: str) -> None:
    lines = SUM_ON_THE_STACK[machine].strip().splitlines()
    form = form_of(machine)
    store = next(line for line in lines if re.match(form.store, line.partition("\t")[2]))
    load = next(line for line in lines if re.match(form.load, line.partition("\t")[2]))
    assert not loops("\n".join(line for line in lines if line != store), machine)  # a constant
    first_stored = [line for line in lines if line != store]
    first_stored.insert(first_stored.index(load), store)
    assert not loops("\n".join(first_stored), machine)  # put there and taken back


def test_only_innermost_loops_count() -> None:
    outer = X86.replace("jne    100 <kernel>", "nop").replace("ret", "jmp    100 <kernel>")
    assert loops(outer, "x86_64") == [(7, 1)]
    inner = outer.replace("vbroadcastss (%rax),%ymm8", "jne    105 <kernel+0x5>")
    assert loops(inner, "x86_64") == []


class Printing(FakeExecutor):
    """A container whose commands print the disassembly of one function."""

    def __init__(self, function: str) -> None:
        super().__init__()
        self.text = X86.replace("<kernel", f"<{function}")

    def call(self, args: Sequence[str], **given: Any) -> str:
        super().call(args, **given)
        return self.text


def look_at(function: str) -> None:
    """Have the recipe look at a library with one such loop."""
    job = Job(target=targets.target("x86_64"), headers="3.13", jobs=1, epoch=0)
    tflite_runtime._refuse_spills(Printing(function), job, "library.so")


def test_a_library_with_such_a_kernel_is_refused_by_its_name() -> None:
    with pytest.raises(BuildError, match="1 kernel loops of XNNPACK") as caught:
        look_at(HOT[0])
    assert f"{HOT[0]}: 1 in a loop of 6 instructions" in caught.value.detail


def test_an_exception_is_let_through() -> None:
    look_at("xnn_x8_transposec_ukernel__32x32_reuse_switch_avx2")


def test_exceptions_have_reasons_and_none_is_for_what_float_networks_spend_their_time_in() -> None:
    assert set(TABLES) == {target.machine for target in targets.all_targets().values()}
    for table in TABLES.values():
        for name, reason in table["exceptions"].items():
            assert len(reason.split()) > 5, name
            assert not [kernel for kernel in HOT if re.fullmatch(name, kernel)]
