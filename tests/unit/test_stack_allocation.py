"""What a tile is computed in stays on the stack, and so in registers, however large the tile is."""

from __future__ import annotations

import re

import pytest
import tvm
from onnx import helper
from tvm import tirx

from tests.support.compiled import ALLOCATION, PC, assembly, scheduled
from tests.support.networks import X86, convolution, model
from toolchain.compile.tir import (
    multiversioning,
    register_blocking,
    stack_allocation,
    target_code,
)

TVM_S_OWN_LIMIT = 1024  # bytes


@pytest.mark.parametrize("channels", [576, 192, 144])
def test_the_sums_of_a_tile_for_long_registers_are_in_registers(channels: int) -> None:
    module = scheduled(convolution((1, 96, 14, 14), channels, 1), PC)
    longer = target_code.registers(multiversioning.longer(PC))
    tile = register_blocking.Tile.of(longer, 14, channels)
    assert 4 * tile.rows * tile.vectors * tile.width >= TVM_S_OWN_LIMIT, "TVM would allocate them"
    code = assembly(module, PC)
    assert "zmm" in code
    assert ALLOCATION not in code
    assert not re.search(r"vmov\w+\t%zmm\d+, .*\(%rsp\)", code), "none is stored there either"


def test_an_image_is_the_runtime_s_to_allocate() -> None:
    pool = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    assert ALLOCATION in assembly(scheduled(model([pool], (1, 64, 28, 28)), PC), PC)


@pytest.mark.parametrize(
    ("size", "kept"),
    [(stack_allocation.LARGEST // 4, True), (stack_allocation.LARGEST // 4 + 1, False)],
)
def test_how_much_is_kept(size: int, kept: bool) -> None:
    buffer = tirx.decl_buffer((size,), "float32")
    body = tirx.SeqStmt(
        [
            tirx.AllocBuffer(buffer, {"other": tirx.IntImm("bool", 1)}),
            tirx.BufferStore(buffer, tirx.const(1.0, "float32"), [0]),
        ]
    )
    module = tvm.IRModule({"main": tirx.PrimFunc([], body)})
    annotations = stack_allocation.keeping()(module)["main"].body[0].annotations
    assert "other" in annotations
    assert (stack_allocation.LEFT_ALONE in annotations) == kept


def test_a_target_of_one_length_keeps_them_too() -> None:
    one = tvm.target.Target({**X86, "mcpu": "x86-64-v4"})
    code = assembly(scheduled(convolution((1, 96, 14, 14), 576, 1), one), one)
    assert "zmm" in code
    assert ALLOCATION not in code
