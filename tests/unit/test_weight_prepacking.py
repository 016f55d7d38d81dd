"""Weights in the order in which tiles read them: which are, that they fit, that nothing changes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import tvm
from onnx import helper
from tvm import relax, tirx

from tests.support.networks import NEON, VECTORS, convolution, expected, lowered, model, random
from toolchain.compile import compilation_job, onnx_import, pipeline
from toolchain.compile.tir import (
    multiversioning,
    register_blocking,
    target_code,
    weight_prepacking,
)
from toolchain.compile.tir.default_schedule import ScheduleRule
from toolchain.compile.tir.register_blocking import Extents, Tile
from toolchain.targets.instruction_sets import Registers

REGISTERS = target_code.registers(tvm.target.Target(NEON))


def reductions(module: tvm.IRModule) -> dict[str, tirx.PrimFunc]:
    """The functions of a convolution or a matrix product."""
    return {
        variable.name_hint: function
        for variable, function in module.functions_items()
        if any(word in variable.name_hint for word in ("conv2d", "matmul"))
    }


def test_the_columns_of_a_tile_stand_together() -> None:
    weights = np.arange(2 * 3 * 12).reshape(2, 3, 12)
    found = weight_prepacking.prepack(weights, 4)
    assert found.shape == (3, 2, 3, 4)
    for column in range(12):
        np.testing.assert_array_equal(found[column // 4, :, :, column % 4], weights[..., column])


MANY = 512  # columns: more than a tile has with any registers


def product(columns: int) -> onnx.ModelProto:
    """A matrix product with weights of that many columns."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Relu", ["m"], ["y"])]
    return model(nodes, (3, 40), {"w": random(40, columns)})


PACKED = {
    "1x1": convolution((1, 24, 7, 7), 96, 1),
    "3x3, of two images": convolution((2, 8, 9, 9), 96, 3, pads=[1, 1, 1, 1]),
    "grouped": convolution((1, 8, 6, 6), 192, 1, group=2),
    "a matrix product": product(MANY),
}


@pytest.mark.parametrize("case", PACKED)
def test_a_network_with_packed_weights_computes_the_same(case: str) -> None:
    graph, target = PACKED[case], compilation_job.host_target()
    module = lowered(graph, 3)
    ((name, function),) = reductions(module).items()
    scheduled, others = pipeline.schedule(module, target, 3)
    assert others == []
    assert weight_prepacking.packing_of(function, scheduled[name])
    machine = relax.VirtualMachine(pipeline.build(scheduled, target), tvm.cpu())
    x = random(*(d.dim_value for d in graph.graph.input[0].type.tensor_type.shape.dim))
    found = machine["main"](tvm.runtime.tensor(x)).numpy()
    np.testing.assert_allclose(found, expected(graph, x), rtol=1e-4, atol=1e-5)


def twice(second: str) -> onnx.ModelProto:
    """Two products of one shape, which are one function: by `w`, and by `second`."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Transpose", ["a"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["a", second], ["y"]),
    ]
    scale = np.float32(MANY**0.5)
    weights = random(MANY, MANY) / scale
    return model(nodes, (MANY, MANY), {"w": weights, "v": weights[::-1]})


@pytest.mark.parametrize(("second", "turned"), [("v", True), ("t", False)])
def test_what_a_call_computes_itself_is_not_packed(second: str, turned: bool) -> None:
    graph, target = twice(second), compilation_job.host_target()
    module = lowered(graph, 3)
    scheduled, _ = pipeline.schedule(module, target, 3)
    ((name, function),) = reductions(module).items()
    assert bool(weight_prepacking.packing_of(function, scheduled[name])) == turned
    machine = relax.VirtualMachine(pipeline.build(scheduled, target), tvm.cpu())
    x = random(MANY, MANY)
    found = machine["main"](tvm.runtime.tensor(x)).numpy()
    np.testing.assert_allclose(found, expected(graph, x), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("graph", "why"),
    [
        (convolution((1, 64, 9, 9), 64, 3, group=64), "each channel has its own few weights"),
        (convolution((1, 64, 7, 7), 8, 1), "one tile has all columns"),
    ],
)
def test_weights_that_are_read_well_as_they_are_stay(graph: onnx.ModelProto, why: str) -> None:
    module = lowered(graph, 3)
    scheduled, _ = pipeline.schedule(module, tvm.target.Target(NEON), 3)
    for name, function in reductions(module).items():
        assert not weight_prepacking.packing_of(function, scheduled[name]), why


def forms(widths: dict[int, int]) -> list[weight_prepacking.Packing]:
    """What a product of 96 columns packs in both forms, each with tiles of its lanes' width."""

    def choose(registers: Registers, _of: Extents) -> Tile:
        return Tile(rows=1, vectors=1, width=widths[registers.lanes])

    target = tvm.target.Target(VECTORS)
    module = pipeline.lower(onnx_import.from_onnx(product(96)), target, 3)
    ((name, function),) = reductions(module).items()
    short = target_code.registers(target)
    rule = ScheduleRule(
        registers=short,
        tiled=True,
        choose=choose,
        constant=weight_prepacking.constant_arguments(module)[name],
    )
    found = multiversioning.forms(
        rule, function, target_code.registers(multiversioning.longer(target))
    )
    assert found is not None
    return [weight_prepacking.packing_of(function, form) for form in found]


def test_both_forms_of_a_function_have_one_layout() -> None:
    short, long = forms({4: 8, 8: 32})
    assert short == long
    assert list(long.values()) == [32]


@pytest.mark.parametrize("widths", [{4: 24, 8: 32}, {4: 8, 8: 96}, {4: 32, 8: 16}])
def test_tiles_that_have_no_layout_in_common_find_weights_as_they_came(
    widths: dict[int, int],
) -> None:
    assert forms(widths) == [{}, {}]


def test_the_tile_of_the_registers_is_what_is_packed() -> None:
    module = lowered(PACKED["1x1"], 3)
    ((name, function),) = reductions(module).items()
    scheduled, _ = pipeline.schedule(module, tvm.target.Target(NEON), 3)
    tile = register_blocking.Tile.of(REGISTERS, 7, 96)
    assert list(weight_prepacking.packing_of(function, scheduled[name]).values()) == [
        tile.vectors * tile.width
    ]
