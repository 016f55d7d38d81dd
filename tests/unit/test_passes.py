"""Every optimisation level computes what ONNX Runtime computes, and each makes different code."""

from __future__ import annotations

import math
import re

import numpy as np
import onnx
import pytest
import tvm
from onnx import helper
from tvm import relax, s_tir

from tests.support.networks import (
    CASES,
    NEON,
    SCALAR,
    VECTORS,
    X86,
    convolution,
    expected,
    lowered,
    model,
    random,
)
from toolchain.compile import compilation_job as work
from toolchain.compile import onnx_import, pipeline
from toolchain.compile.compilation import OPT_LEVELS
from toolchain.compile.tir import default_schedule, register_blocking, target_code
from toolchain.core.errors import ModelError


def functions(module: tvm.IRModule) -> list[str]:
    return sorted(v.name_hint for v in module.get_global_vars() if v.name_hint != "main")


@pytest.mark.parametrize("level", OPT_LEVELS)
@pytest.mark.parametrize("case", CASES)
def test_every_level_computes_the_same(case: str, level: int) -> None:
    graph = CASES[case]
    target = work.host_target()
    module, others = pipeline.schedule(lowered(graph, level), target, level)
    machine = relax.VirtualMachine(pipeline.build(module, target), tvm.cpu())
    x = random(*(d.dim_value for d in graph.graph.input[0].type.tensor_type.shape.dim))
    found = machine["main"](tvm.runtime.tensor(x)).numpy()
    np.testing.assert_allclose(found, expected(graph, x), rtol=1e-4, atol=1e-5)
    assert others == []


def test_scalar_tiles_compute_the_same() -> None:
    graph = CASES["1x1, odd channels, batch 3"]
    rule = default_schedule.ScheduleRule(
        registers=target_code.registers(tvm.target.Target(SCALAR)), tiled=True
    )
    assert rule.registers.lanes == 1
    module = lowered(graph, 3)
    for variable, function in list(module.functions_items()):
        if variable.name_hint != "main":
            better = rule.apply(function)
            assert better is not None
            module.update_func(variable, better)
    executable = pipeline.build(module, work.host_target())
    x = random(3, 7, 5, 11)
    found = relax.VirtualMachine(executable, tvm.cpu())["main"](tvm.runtime.tensor(x)).numpy()
    np.testing.assert_allclose(found, expected(graph, x), rtol=1e-4, atol=1e-5)


def of_convolution(module: tvm.IRModule) -> str:
    """The name of the function that computes a convolution; with RVV, its form for 128 bits."""
    (name,) = [n for n in functions(module) if "conv2d" in n and not n.endswith("_long")]
    return name


def assembly(graph: onnx.ModelProto, kind: dict[str, object]) -> str:
    """What a convolution is compiled to for a target."""
    target = tvm.target.Target(kind)
    module = pipeline.lower(onnx_import.from_onnx(graph), target, 3)
    scheduled, _ = pipeline.schedule(module, target, 3)
    name = of_convolution(scheduled)
    function = scheduled[name].with_attr("global_symbol", name)
    code: str = tvm.compile(tvm.IRModule({name: function}), target).mod.inspect_source("asm")
    return code


def test_vectors_of_unknown_length_keep_the_sums_of_a_tile_in_registers() -> None:
    code = assembly(convolution((1, 16, 14, 14), 32, 1), VECTORS)
    # one an image position of the tile and step of the reduction, two of these in one loop
    assert len(re.findall(r"vfm(?:acc|add)\.vf", code)) == 2 * 7
    assert "vid.v" not in code  # as a masked loop has it


@pytest.mark.parametrize(
    ("target", "products", "others"),
    # with RVV weights lie as the form for 256 bits reads them, in steps that LLVM counts apart
    [(SCALAR, r"fmadd\.s", 28), (VECTORS, r"vfm(?:acc|add)\.vf", 28)],
)
def test_a_turn_of_the_loop_takes_two_steps_of_a_reduction_and_spills_no_sum(
    target: dict[str, object], products: str, others: int
) -> None:
    code = assembly(convolution((1, 672, 7, 7), 160, 1), target)
    loops = re.split(r"^\.L\w+:.*$", code, flags=re.MULTILINE)
    inner = max(loops, key=lambda loop: len(re.findall(products, loop)))
    turn = inner[: inner.index("\tb")].splitlines()
    work = [line for line in turn if re.search(products, line)]
    assert len(work) % (2 * 7) == 0
    assert len(turn) - len(work) <= others
    assert not [line for line in turn if "(sp)" in line]


def test_neon_takes_four_inputs_from_one_register() -> None:
    code = assembly(convolution((1, 64, 14, 14), 32, 1), NEON)
    for lane in range(4):
        assert re.search(rf"fmla\tv\d+\.4s, v\d+\.4s, v\d+\.s\[{lane}\]", code)


@pytest.mark.parametrize("kind", [X86, NEON, VECTORS], ids=["x86-64", "NEON", "RVV"])
@pytest.mark.parametrize("case", ["x * sigmoid(x), its tanh", "erf, its exponential squared"])
def test_activations_by_exponentials_call_no_library(case: str, kind: dict[str, object]) -> None:
    code = assembly(CASES[case], kind)
    assert not re.findall(r"(?:exp|tanh|erf)f\b", code)


@pytest.mark.parametrize("operator", ["Exp", "Sigmoid", "Tanh", "Erf"])
def test_exponentials_of_what_is_not_finite_or_large_are_as_they_should_be(operator: str) -> None:
    graph = model([helper.make_node(operator, ["x"], ["y"])], (8,))
    x = np.array([0, np.inf, -np.inf, np.nan, 88, 100, -87, -200], np.float32)
    module, _ = pipeline.schedule(lowered(graph, 3), work.host_target(), 3)
    machine = relax.VirtualMachine(pipeline.build(module, work.host_target()), tvm.cpu())
    found = machine["main"](tvm.runtime.tensor(x)).numpy()
    np.testing.assert_allclose(found, expected(graph, x), rtol=1e-5, atol=1e-6)


def test_a_scale_for_each_channel_is_computed_once_and_not_for_each_pixel() -> None:
    squeeze = model(
        [
            helper.make_node("GlobalAveragePool", ["x"], ["g"]),
            helper.make_node("Conv", ["g", "w"], ["c"]),
            helper.make_node("Sigmoid", ["c"], ["s"]),
            helper.make_node("Mul", ["x", "s"], ["y"]),
        ],
        (2, 16, 6, 6),
        {"w": random(16, 16, 1, 1)},
    )
    target = work.host_target()
    module, _ = pipeline.schedule(lowered(squeeze, 3), target, 3)
    (name,) = [n for n in functions(module) if "conv2d" in n]
    schedule = s_tir.Schedule(module[name])
    (update,) = [
        b
        for b in schedule.get_child_blocks(schedule.get_sblock("root"))
        if schedule.get(b).name_hint.endswith("_update")
    ]
    done = math.prod(int(schedule.get(loop).extent) for loop in schedule.get_loops(update))
    assert done == 2 * 16 * 16
    x = random(2, 16, 6, 6)
    machine = relax.VirtualMachine(pipeline.build(module, target), tvm.cpu())
    found = machine["main"](tvm.runtime.tensor(x)).numpy()
    np.testing.assert_allclose(found, expected(squeeze, x), rtol=1e-4, atol=1e-5)


def test_a_window_over_each_channel_leaves_a_register_for_every_input_of_a_tile() -> None:
    registers = target_code.registers(tvm.target.Target(VECTORS))
    tile = register_blocking.Tile.sliding(registers, 56, 64, stride=1)
    assert tile == register_blocking.Tile(
        rows=7, vectors=1, width=8
    )  # 7 sums, 7 inputs, 2 of 16 groups
    assert register_blocking.Tile.sliding(registers, 56, 64, stride=2).rows == 4
    depthwise = convolution((1, 16, 14, 14), 16, 3, pads=[1, 1, 1, 1], group=16)
    module = pipeline.lower(onnx_import.from_onnx(depthwise), tvm.target.Target(VECTORS), 3)
    scheduled, _ = pipeline.schedule(module, tvm.target.Target(VECTORS), 3)
    name = of_convolution(scheduled)
    widths = {
        int(w) for w in re.findall(r"T.vectorized\(T.int64\((\d+)\)\)", scheduled[name].script())
    }
    assert widths == {8}


@pytest.mark.parametrize(
    ("target", "tile", "load"), [(VECTORS, 7, r"vle32\.v"), (NEON, 14, r"ldu?r\tq")]
)
def test_an_input_that_two_taps_of_a_window_need_is_loaded_once(
    target: dict[str, object], tile: int, load: str
) -> None:
    depthwise = convolution((1, 8, 14, 14), 8, 5, pads=[2, 2, 2, 2], group=8)
    (row,) = re.findall(
        r"^\.L\w+:.*\n((?:\t(?!b).*\n)*(?:.*(?:fmla|vfm\w+\.vv).*\n)(?:\t(?!b).*\n)*)\tb",
        assembly(depthwise, target),
        re.MULTILINE,
    )
    assert len(re.findall(r"fmla|vfm\w+\.vv", row)) == 5 * tile
    assert len(re.findall(load, row)) == 5 + tile + 4  # weights, inputs


@pytest.mark.parametrize("rows", [1, 7, 13, 56])
@pytest.mark.parametrize("columns", [1, 10, 24, 40, 672, 1000])
@pytest.mark.parametrize(
    "target", [X86, SCALAR, VECTORS, NEON], ids=["x86", "scalar", "vectors", "neon"]
)
def test_a_tile_divides_its_axes_and_fits_in_the_registers(
    target: dict[str, object], rows: int, columns: int
) -> None:
    registers = target_code.registers(tvm.target.Target(target))
    tile = register_blocking.Tile.of(registers, rows, columns)
    assert rows % tile.rows == 0
    assert columns % (tile.vectors * tile.width) == 0
    group = registers.grouped(tile.width)
    inputs = tile.rows if registers.indexed else registers.inputs
    used = (tile.rows + 1) * tile.vectors * group + inputs
    assert used <= registers.count


def test_every_level_makes_different_code() -> None:
    target = work.host_target()
    texts = set()
    for level in OPT_LEVELS:
        module, _ = pipeline.schedule(lowered(CASES["residual"], level), target, level)
        texts.add(module.script(show_meta=False))
    assert len(texts) == len(OPT_LEVELS)


def test_bias_activation_and_residual_go_into_the_convolution() -> None:
    graph = CASES["residual"]
    assert len(functions(lowered(graph, 0))) == 3
    assert functions(lowered(graph, 1)) == ["fused_conv2d_add_relu"]


def test_a_clip_is_not_a_function_of_its_own() -> None:
    names = functions(lowered(CASES["1x1"], 1))
    assert len(names) == 1


def test_tiles_follow_from_the_target() -> None:
    of = target_code.registers
    assert of(tvm.target.Target(X86)).lanes == 8
    assert of(tvm.target.Target({**X86, "mcpu": "x86-64"})).lanes == 4
    assert of(tvm.target.Target({**X86, "mcpu": "x86-64-v4"})).lanes == 16
    assert of(tvm.target.Target(SCALAR)).lanes == 1
    assert of(tvm.target.Target(VECTORS)).lanes == 4
    assert of(tvm.target.Target(NEON)).lanes == 4


def test_an_operator_that_tvm_lacks_is_named_with_its_nodes() -> None:
    graph = model(
        [
            helper.make_node("Relu", ["x"], ["r"], name="first"),
            helper.make_node("LpNormalization", ["r"], ["y"], name="unit_length"),
        ],
        (1, 8),
    )
    with pytest.raises(ModelError, match="operator LpNormalization") as caught:
        onnx_import.from_onnx(graph)
    assert "unit_length" in caught.value.detail
    assert "first" not in caught.value.detail


def test_an_operator_used_in_a_way_that_tvm_lacks_is_named_with_its_node() -> None:
    graph = model(
        [
            helper.make_node("Relu", ["x"], ["r"], name="first"),
            helper.make_node(
                "MaxPool", ["r"], ["y"], name="storage", kernel_shape=[2, 2], auto_pad="NOPE"
            ),
        ],
        (1, 1, 4, 4),
    )
    with pytest.raises(ModelError, match="operator MaxPool") as caught:
        onnx_import.from_onnx(graph)
    assert "storage" in caught.value.detail
