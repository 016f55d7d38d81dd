"""Every optimisation level computes what ONNX Runtime computes, and each makes different code."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import tvm
from onnx import TensorProto, helper, numpy_helper
from tvm import relax, s_tir

from toolchain.compile import OPT_LEVELS, frontend, passes, schedules, simplify, tiles, work
from toolchain.convert import onnx_reference
from toolchain.errors import ModelError

X86 = {"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": "x86-64-v3"}
SCALAR = {
    "kind": "llvm",
    "mtriple": "riscv64-unknown-linux-gnu",
    "mcpu": "generic-rv64",
    "mabi": "lp64d",
    "mattr": ["+m", "+a", "+f", "+d", "+c"],
}
VECTORS: dict[str, object] = {**SCALAR, "mattr": ["+m", "+a", "+f", "+d", "+c", "+v"]}

NEON: dict[str, object] = {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mattr": ["+neon"]}


def random(*shape: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def model(
    nodes: Sequence[onnx.NodeProto],
    shape: tuple[int, ...],
    constants: dict[str, npt.NDArray[np.generic]] | None = None,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    return onnx.shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    )


def convolution(
    shape: tuple[int, ...], channels: int, window: int, **attributes: Any
) -> onnx.ModelProto:
    """A convolution with bias, and relu6 after it as exporters write it."""
    groups: int = attributes.get("group", 1)
    return model(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["c"], **attributes),
            helper.make_node("Clip", ["c", "low", "high"], ["y"]),
        ],
        shape,
        {
            "w": random(channels, shape[1] // groups, window, window),
            "b": random(channels),
            "low": np.array(0, np.float32),
            "high": np.array(6, np.float32),
        },
    )


CASES = {
    "3x3, stride 2, uneven padding": convolution(
        (1, 3, 15, 13), 16, 3, strides=[2, 2], pads=[0, 0, 1, 1]
    ),
    "1x1": convolution((1, 24, 7, 7), 40, 1),
    "1x1, odd channels, batch 3": convolution((3, 7, 5, 11), 13, 1),
    "depthwise 5x5": convolution((2, 24, 14, 14), 24, 5, pads=[2, 2, 2, 2], group=24),
    "depthwise, odd": convolution((1, 5, 9, 9), 5, 3, pads=[1, 1, 1, 1], group=5, strides=[2, 2]),
    "dilated": convolution((1, 8, 12, 12), 8, 3, dilations=[2, 2]),
    "one pixel": convolution((1, 72, 1, 1), 24, 1),
    "two groups": convolution((1, 8, 6, 6), 12, 3, group=2),
    "residual": model(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Add", ["c", "x"], ["s"]),
            helper.make_node("Relu", ["s"], ["y"]),
        ],
        (1, 16, 8, 8),
        {"w": random(16, 16, 3, 3)},
    ),
    "pooling and dense": model(
        [
            helper.make_node("MaxPool", ["x"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
            helper.make_node("GlobalAveragePool", ["m"], ["g"]),
            helper.make_node("Flatten", ["g"], ["f"]),
            helper.make_node("Gemm", ["f", "w", "b"], ["s"]),
            helper.make_node("Softmax", ["s"], ["y"], axis=1),
        ],
        (2, 12, 8, 8),
        {"w": random(12, 10), "b": random(10)},
    ),
    "softmax over channels": model(
        [helper.make_node("Softmax", ["x"], ["y"], axis=1)], (2, 5, 7, 9)
    ),
    "x * sigmoid(x), its tanh": model(
        [
            helper.make_node("Conv", ["x", "w"], ["c"]),
            helper.make_node("Sigmoid", ["c"], ["s"]),
            helper.make_node("Mul", ["c", "s"], ["m"]),
            helper.make_node("Tanh", ["m"], ["y"]),
        ],
        (1, 6, 5, 5),
        {"w": random(9, 6, 1, 1)},
    ),
    "erf, its exponential squared": model(
        [
            helper.make_node("Conv", ["x", "w"], ["c"]),
            helper.make_node("Erf", ["c"], ["e"]),
            helper.make_node("Exp", ["e"], ["p"]),
            helper.make_node("Mul", ["p", "p"], ["y"]),
        ],
        (1, 6, 5, 5),
        {"w": random(16, 6, 1, 1)},
    ),
    "concatenated": model(
        [
            helper.make_node("Conv", ["x", "w"], ["c"]),
            helper.make_node("Concat", ["x", "c"], ["k"], axis=1),
            helper.make_node("Mul", ["k", "scale"], ["y"]),
        ],
        (1, 6, 5, 5),
        {"w": random(3, 6, 1, 1), "scale": random(1, 9, 1, 1)},
    ),
    "a convolution, then one transposed": model(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("ConvTranspose", ["c", "v"], ["t"], strides=[2, 2]),
            helper.make_node("Conv", ["t", "u"], ["y"]),
        ],
        (1, 6, 5, 5),
        {"w": random(8, 6, 3, 3), "v": random(8, 4, 3, 3), "u": random(5, 4, 1, 1)},
    ),
    "not a network of images": model(
        [helper.make_node("Tanh", ["x"], ["t"]), helper.make_node("MatMul", ["t", "w"], ["y"])],
        (3, 17),
        {"w": random(17, 5)},
    ),
}


def expected(case: onnx.ModelProto, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return onnx_reference.run(case, {"x": x})[0]


def lowered(case: onnx.ModelProto, level: int) -> tvm.IRModule:
    graph = simplify.simplify(case) if level >= 1 else case
    return passes.lower(frontend.load(graph), work.this_machine(), level)


def functions(module: tvm.IRModule) -> list[str]:
    return sorted(v.name_hint for v in module.get_global_vars() if v.name_hint != "main")


@pytest.mark.parametrize("level", OPT_LEVELS)
@pytest.mark.parametrize("case", CASES)
def test_every_level_computes_the_same(case: str, level: int) -> None:
    graph = CASES[case]
    target = work.this_machine()
    module, others = passes.schedule(lowered(graph, level), target, level)
    machine = relax.VirtualMachine(passes.build(module, target), tvm.cpu())
    x = random(*(d.dim_value for d in graph.graph.input[0].type.tensor_type.shape.dim))
    found = machine["main"](tvm.runtime.tensor(x)).numpy()
    np.testing.assert_allclose(found, expected(graph, x), rtol=1e-4, atol=1e-5)
    assert others == []


def test_scalar_tiles_compute_the_same() -> None:
    graph = CASES["1x1, odd channels, batch 3"]
    rule = schedules.Rule(registers=tiles.Registers.of(tvm.target.Target(SCALAR)), tiled=True)
    assert rule.registers.lanes == 1
    module = lowered(graph, 3)
    for variable, function in list(module.functions_items()):
        if variable.name_hint != "main":
            better = rule.apply(function)
            assert better is not None
            module.update_func(variable, better)
    executable = passes.build(module, work.this_machine())
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
    module = passes.lower(frontend.load(graph), target, 3)
    scheduled, _ = passes.schedule(module, target, 3)
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
    module, _ = passes.schedule(lowered(graph, 3), work.this_machine(), 3)
    machine = relax.VirtualMachine(passes.build(module, work.this_machine()), tvm.cpu())
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
    target = work.this_machine()
    module, _ = passes.schedule(lowered(squeeze, 3), target, 3)
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
    machine = relax.VirtualMachine(passes.build(module, target), tvm.cpu())
    found = machine["main"](tvm.runtime.tensor(x)).numpy()
    np.testing.assert_allclose(found, expected(squeeze, x), rtol=1e-4, atol=1e-5)


def test_a_window_over_each_channel_leaves_a_register_for_every_input_of_a_tile() -> None:
    registers = tiles.Registers.of(tvm.target.Target(VECTORS))
    tile = tiles.Tile.sliding(registers, 56, 64, stride=1)
    assert tile == tiles.Tile(rows=7, vectors=1, width=8)  # 7 sums, 7 inputs, 2 of 16 groups
    assert tiles.Tile.sliding(registers, 56, 64, stride=2).rows == 4
    depthwise = convolution((1, 16, 14, 14), 16, 3, pads=[1, 1, 1, 1], group=16)
    module = passes.lower(frontend.load(depthwise), tvm.target.Target(VECTORS), 3)
    scheduled, _ = passes.schedule(module, tvm.target.Target(VECTORS), 3)
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
    registers = tiles.Registers.of(tvm.target.Target(target))
    tile = tiles.Tile.of(registers, rows, columns)
    assert rows % tile.rows == 0
    assert columns % (tile.vectors * tile.width) == 0
    group = registers.grouped(tile.width)
    inputs = tile.rows if registers.indexed else registers.inputs
    used = (tile.rows + 1) * tile.vectors * group + inputs
    assert used <= registers.count


def test_every_level_makes_different_code() -> None:
    target = work.this_machine()
    texts = set()
    for level in OPT_LEVELS:
        module, _ = passes.schedule(lowered(CASES["residual"], level), target, level)
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
    of = tiles.Registers.of
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
        frontend.load(graph)
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
        frontend.load(graph)
    assert "storage" in caught.value.detail
