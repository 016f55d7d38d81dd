"""Rounded numbers: layouts go through them, and int8 is multiplied as int8 where a target can."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import tvm
from onnx import helper
from tvm import relax

from tests.support.networks import NEON, VECTORS, X86, model, random
from tests.support.quantized_networks import (
    convolution,
    integers,
    of_weights,
    rounded,
    rounding,
    weights,
)
from toolchain.compile import (
    compilation_job,
    onnx_import,
    onnx_simplify,
    pipeline,
    tvm_versions,
)
from toolchain.compile.relax import integer_sums
from toolchain.formats import onnx_reference

DOTS: dict[str, object] = {**NEON, "mcpu": "cortex-a76", "mattr": ["+neon", "+dotprod"]}


DENSE = model(
    [
        *rounded("x", "r"),
        *of_weights("w"),
        helper.make_node("Gemm", ["r", "w", "b"], ["y"]),
    ],
    (3, 18),
    {**rounding(), **weights("w", 18, 8, scales=1), "b": random(8)},
)

PRODUCTS = {
    "3x3, padded unevenly, stride 2": convolution(
        (1, 8, 15, 13), 16, 3, strides=[2, 2], pads=[0, 1, 1, 0]
    ),
    "1x1": convolution((1, 24, 7, 7), 40, 1),
    "1x1, batch 3, inputs that 4 does not divide": convolution((3, 7, 5, 11), 12, 1),
    "three inputs": convolution((1, 3, 9, 9), 8, 3, pads=[1, 1, 1, 1]),
    "dilated": convolution((1, 8, 12, 12), 8, 3, dilations=[2, 2], pads=[2, 2, 2, 2]),
    "one scale for all": convolution((1, 16, 6, 6), 16, 3, per_channel=False),
    "dense": DENSE,
}
OTHERS = {
    "depthwise": convolution((1, 8, 9, 9), 8, 3, group=8, pads=[1, 1, 1, 1]),
    "one input": convolution((1, 1, 8, 8), 16, 3),
    "outputs that no register holds": convolution((1, 8, 6, 6), 10, 1),
}


def expected(case: onnx.ModelProto, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return onnx_reference.run(case, {"x": x})[0]


def lowered(case: onnx.ModelProto, kind: dict[str, object], level: int = 3) -> tvm.IRModule:
    target = tvm.target.Target(kind)
    return pipeline.lower(onnx_import.from_onnx(onnx_simplify.simplify(case)), target, level)


def names(module: tvm.IRModule) -> list[str]:
    return sorted(v.name_hint for v in module.get_global_vars() if v.name_hint != "main")


def constants(module: tvm.IRModule) -> list[npt.NDArray[np.generic]]:
    found: list[npt.NDArray[np.generic]] = []

    def visit(expression: object) -> None:
        value = tvm_versions.constant_value(expression)
        if value is not None:
            found.append(value)

    relax.analysis.post_order_visit(module["main"], visit)
    return found


def assembly(module: tvm.IRModule, kind: dict[str, object]) -> str:
    target = tvm.target.Target(kind)
    scheduled, others = pipeline.schedule(module, target, 3)
    assert others == []
    code: str = ""
    for name in names(scheduled):
        function = scheduled[name].with_attr("global_symbol", name)
        code += tvm.compile(tvm.IRModule({name: function}), target).mod.inspect_source("asm")
    return code


def check(case: onnx.ModelProto, module: tvm.IRModule) -> None:
    """Compare a module, scheduled for this machine, with the network in float32."""
    shape: Sequence[int] = [d.dim_value for d in case.graph.input[0].type.tensor_type.shape.dim]
    x = random(*shape)
    here = compilation_job.host_target()
    scheduled, _ = pipeline.schedule(module, here, 3)
    machine = relax.VirtualMachine(pipeline.build(scheduled, here), tvm.cpu())
    found = machine["main"](tvm.runtime.tensor(x)).numpy()
    steps = np.abs(found - expected(case, x)) / rounding()["s"]
    # sums in another order may fall on the other side of a half: one step, seldom
    assert steps.max() < 1.01
    assert (steps > 0.01).mean() < 0.01


@pytest.mark.parametrize("case", PRODUCTS)
def test_int8_is_multiplied_by_int8_where_the_target_can(case: str) -> None:
    module = lowered(PRODUCTS[case], DOTS)
    (name,) = [n for n in names(module) if "int8" in n]
    check(PRODUCTS[case], module)
    assert "sdot" in assembly(module, DOTS)
    assert name.startswith("fused_")  # with what follows it, in one function


def test_sixteen_inputs_are_loaded_at_once_and_used_lane_by_lane() -> None:
    code = assembly(lowered(PRODUCTS["one scale for all"], DOTS), DOTS)
    (loop,) = re.findall(
        r"^\.L\w+:.*\n((?:\t(?!b\.).*\n)*?(?:.*sdot.*\n)[^:]*?)\tb\.", code, re.MULTILINE
    )
    for lane in range(4):
        assert re.search(rf"sdot\tv\d+\.4s, v\d+\.16b, v\d+\.4b\[{lane}\]", loop)
    others = [line for line in loop.splitlines() if line.strip() and "sdot" not in line]
    assert loop.count("sdot") > 2 * len(others)


@pytest.mark.parametrize("case", PRODUCTS)
def test_elsewhere_whole_numbers_are_added_as_float32(case: str) -> None:
    module = lowered(PRODUCTS[case], NEON)
    assert not [n for n in names(module) if "int8" in n]
    check(PRODUCTS[case], module)
    assert "sdot" not in assembly(module, NEON)


@pytest.mark.parametrize("case", OTHERS)
def test_what_does_not_fit_the_instruction_is_added_as_float32(case: str) -> None:
    module = lowered(OTHERS[case], DOTS)
    assert not [n for n in names(module) if "int8" in n]
    check(OTHERS[case], module)


@pytest.mark.parametrize("case", sorted(PRODUCTS.keys() | OTHERS.keys()))
@pytest.mark.parametrize("kind", [X86, VECTORS], ids=["float32 from int8", "int16 by int8"])
def test_weights_are_int8_in_the_library_where_that_costs_nothing(
    case: str, kind: dict[str, object]
) -> None:
    network = {**PRODUCTS, **OTHERS}[case]
    module = lowered(network, kind)
    check(network, module)
    wanted = {"int8"} if case != "depthwise" else {"int16" if kind is VECTORS else "float32"}
    assert {str(value.dtype) for value in constants(module) if value.ndim > 1} - wanted <= {
        "float32"  # a bias, as the layer adds it
    }
    assert wanted <= {str(value.dtype) for value in constants(module)}


def test_images_are_not_turned_around_rounding() -> None:
    two = model(
        [
            *rounded("x", "r"),
            *of_weights("w", "v"),
            helper.make_node("Conv", ["r", "w"], ["c"]),
            *rounded("c", "d"),
            helper.make_node("Conv", ["d", "v"], ["e"]),
            *rounded("e", "y"),
        ],
        (1, 8, 6, 6),
        {**rounding(), **weights("w", 8, 8, 1, 1, scales=8), **weights("v", 8, 8, 1, 1, scales=8)},
    )
    for target in (NEON, DOTS):
        turned = [n for n in names(lowered(two, target)) if "transpose" in n]
        assert len(turned) == 2  # the input, and the output
    check(two, lowered(two, DOTS))


def test_weights_stay_int8_and_packed_by_four() -> None:
    steps = integers(3, 3, 6, 8)
    packed = integer_sums.packed(steps)
    assert packed.shape == (3, 3, 2, 8, 4)
    assert packed.dtype == np.int8
    for channel in range(6):
        found = packed[:, :, channel // 4, :, channel % 4]
        np.testing.assert_array_equal(found, steps[:, :, channel])
    assert not packed[:, :, 1, :, 2:].any()


def test_the_reference_does_not_saturate() -> None:
    """Products of 127 and 255 steps, added in pairs, exceed 16 bits."""
    large = model(
        [
            *rounded("x", "r"),
            *of_weights("w"),
            helper.make_node("Conv", ["r", "w"], ["c"]),
            helper.make_node("Relu", ["c"], ["a"]),
            helper.make_node("QuantizeLinear", ["a", "t", "z"], ["a_steps"]),
            helper.make_node("DequantizeLinear", ["a_steps", "t", "z"], ["y"]),
        ],
        (1, 8, 2, 2),
        {
            "s": np.array(1, np.float32),
            "z": np.array(-128, np.int8),
            "t": np.array(1000, np.float32),
            "w_steps": np.full((4, 8, 1, 1), 127, np.int8),
            "w_s": np.ones(4, np.float32),
            "w_z": np.zeros(4, np.int8),
        },
    )
    x = np.full((1, 8, 2, 2), 255, np.float32)
    np.testing.assert_array_equal(
        onnx_reference.run(large, {"x": x})[0], np.full((1, 4, 2, 2), 255_000)
    )


def test_a_sum_that_no_float32_holds_is_exact() -> None:
    """2^24 and more: float32 has steps of 2 there."""
    inputs = 4096
    large = model(
        [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["steps"]),
            helper.make_node("DequantizeLinear", ["steps", "s", "z"], ["r"]),
            *of_weights("w"),
            helper.make_node("MatMul", ["r", "w"], ["y"]),
        ],
        (1, inputs),
        {
            "s": np.array(1, np.float32),
            "z": np.array(0, np.int8),
            "w_steps": np.full((inputs, 4), 127, np.int8) - np.eye(inputs, 4, dtype=np.int8),
            "w_s": np.array(1, np.float32),
            "w_z": np.array(0, np.int8),
        },
    )
    x = np.full((1, inputs), 127, np.float32)
    here = compilation_job.host_target()
    scheduled, _ = pipeline.schedule(lowered(large, DOTS), here, 3)
    machine = relax.VirtualMachine(pipeline.build(scheduled, here), tvm.cpu())
    found = machine["main"](tvm.runtime.tensor(x)).numpy()
    exact = 127 * (127 * inputs - 1)
    np.testing.assert_array_equal(found, np.full((1, 4), exact, np.float32))


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_halves_go_to_the_even_step_before_the_zero_point_is_added(kind: str) -> None:
    halves = model(
        [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["steps"]),
            helper.make_node("DequantizeLinear", ["steps", "s", "z"], ["y"]),
        ],
        (1, 1200),
        {"s": np.array(1, np.float32), "z": np.array(3, kind)},
    )
    x = np.arange(-300, 300, 0.5).astype(np.float32).reshape(1, -1)
    x[0, :4] = 1e9, -1e9, np.inf, -np.inf
    here = compilation_job.host_target()
    scheduled, _ = pipeline.schedule(lowered(halves, NEON), here, 3)
    machine = relax.VirtualMachine(pipeline.build(scheduled, here), tvm.cpu())
    found = machine["main"](tvm.runtime.tensor(x)).numpy()
    np.testing.assert_array_equal(found, expected(halves, x))
    info = np.iinfo(kind)
    np.testing.assert_array_equal(found, np.clip(np.round(x), info.min - 3, info.max - 3))


def test_steps_that_are_read_as_numbers_at_once_are_never_integers() -> None:
    """A hard swish as it is exported, say: rounded after each of its operators."""
    between = model(
        [
            *rounded("x", "r"),
            helper.make_node("Add", ["r", "three"], ["a"]),
            *rounded("a", "b"),
            helper.make_node("Mul", ["b", "three"], ["c"]),
            *rounded("c", "y"),
        ],
        (1, 300),
        {**rounding(), "three": np.array(3, np.float32)},
    )
    module = lowered(between, NEON)
    functions = [f for f in module.functions.values() if isinstance(f, tvm.tirx.PrimFunc)]
    assert functions
    assert not any("int8" in str(function) for function in functions)
    x = np.linspace(-9, 9, 300, dtype=np.float32).reshape(1, -1)
    here = compilation_job.host_target()
    scheduled, _ = pipeline.schedule(module, here, 3)
    machine = relax.VirtualMachine(pipeline.build(scheduled, here), tvm.cpu())
    found = machine["main"](tvm.runtime.tensor(x)).numpy()
    np.testing.assert_array_equal(found, expected(between, x))
