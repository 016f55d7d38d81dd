"""Convolutions and dense layers in integers, against TensorFlow Lite's reference kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax

from tests.support import tflite_models
from tests.support.compiled import assembly
from tests.support.networks import NEON, VECTORS, X86
from tests.support.quantized_operators import (
    NONE,
    RELU,
    RELU6,
    RELU_N1_TO_1,
    SAME,
    VALID,
    Array,
    check,
    generator,
    imported,
    steps,
)  # fmt: skip
from tests.support.tflite_models import Operator, Tensor, constant
from toolchain.compile import pipeline, tvm_versions
from toolchain.compile.quantized.fixed_point import Channelwise
from toolchain.compile.tir import target_code

DOTS: dict[str, object] = {**NEON, "mcpu": "cortex-a76", "mattr": ["+neon", "+dotprod"]}


def products(
    name: str,
    shape: tuple[int, ...],
    of: tuple[int, ...],
    out: tuple[int, ...],
    *,
    options: Mapping[str, Any],
    kind: str = "int8",
    per_channel: bool = True,
    bias: bool = True,
    axis: int = 0,
    scale: float = 0.1,
    most: int = 127,
) -> bytes:
    """A convolution or dense layer: x of `shape`, weights `of` a shape, y of the shape `out`."""
    draw = generator(f"{name}{shape}{of}")
    outputs = of[axis]
    weights = draw.integers(-most, most + 1, of).astype(np.int8)
    scales = (draw.random(outputs if per_channel else 1) * 0.02 + 0.002).astype(np.float32)
    x_scale = 0.04 if kind == "int8" else 0.0004
    zero = 0 if kind == "int16" else -11
    held = Tensor(shape=of, scale=scales.tolist(), zero=[0] * len(scales), axis=axis, value=weights)
    if kind == "uint8":
        held = Tensor(
            shape=of, kind="uint8", scale=scales.tolist(), zero=[119], axis=axis,
            value=(weights.astype(np.int16) + 128).astype(np.uint8),
        )  # fmt: skip
        zero = 131
    tensors = {
        "x": steps(*shape, kind=kind, scale=x_scale, zero=zero),
        "w": held,
        "b": constant(
            draw.integers(-30 * most, 30 * most, outputs).astype(
                np.int64 if kind == "int16" else np.int32
            ),
            (scales * np.float32(x_scale)).tolist(),
        ),
        "y": steps(*out, kind=kind, scale=scale, zero=0 if kind == "int16" else 7),
    }
    class_ = {"CONV_2D": "Conv2DOptions", "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions"}
    operator = Operator(
        name=name,
        inputs=["x", "w", "b"] if bias else ["x", "w"],
        outputs=["y"],
        options=class_.get(name, "FullyConnectedOptions"),
        settings=options,
    )
    if not bias:
        del tensors["b"]
    return tflite_models.model(tensors, [operator])


def window(
    padding: int = VALID, stride: int = 1, dilation: int = 1, activation: int = NONE
) -> dict[str, Any]:
    return {
        "padding": padding,
        "strideW": stride,
        "strideH": stride,
        "dilationWFactor": dilation,
        "dilationHFactor": dilation,
        "fusedActivationFunction": activation,
    }


CONVOLUTIONS = {
    "3x3, same, stride 2": products(
        "CONV_2D", (1, 9, 11, 5), (8, 3, 3, 5), (1, 5, 6, 8), options=window(SAME, 2), scale=0.3
    ),
    "1x1, relu6": products(
        "CONV_2D", (1, 6, 7, 24), (40, 1, 1, 24), (1, 6, 7, 40), options=window(activation=RELU6)
    ),
    "5x3, valid, batch 2": products(
        "CONV_2D", (2, 9, 8, 3), (6, 5, 3, 3), (2, 5, 6, 6), options=window(), scale=0.4
    ),
    "dilated, relu": products(
        "CONV_2D", (1, 11, 11, 8), (8, 3, 3, 8), (1, 11, 11, 8),
        options=window(SAME, dilation=2, activation=RELU), scale=0.4,
    ),
    "two groups": products(
        "CONV_2D", (1, 6, 6, 8), (6, 3, 3, 4), (1, 6, 6, 6), options=window(SAME), scale=0.3
    ),
    "one scale for all": products(
        "CONV_2D", (1, 6, 6, 8), (16, 3, 3, 8), (1, 4, 4, 16),
        options=window(), per_channel=False, scale=0.4,
    ),
    "relu from -1 to 1": products(
        "CONV_2D", (1, 5, 5, 8), (16, 1, 1, 8), (1, 5, 5, 16),
        options=window(activation=RELU_N1_TO_1), scale=0.02,
    ),
    "factors above one": products(
        "CONV_2D", (1, 5, 5, 2), (4, 1, 1, 2), (1, 5, 5, 4), options=window(), scale=0.0003,
        most=2,
    ),
    "sums that no float32 holds": products(
        "CONV_2D", (1, 3, 3, 2048), (4, 1, 1, 2048), (1, 3, 3, 4), options=window(), scale=8.0
    ),
    "uint8 with weights around another zero": products(
        "CONV_2D", (1, 7, 7, 6), (8, 3, 3, 6), (1, 7, 7, 8),
        options=window(SAME), kind="uint8", per_channel=False, scale=0.1,
    ),
    "int16": products(
        "CONV_2D", (1, 7, 7, 6), (8, 3, 3, 6), (1, 7, 7, 8),
        options=window(SAME), kind="int16", scale=0.001,
    ),
}  # fmt: skip
DEPTHWISE = {
    "3x3, same": products(
        "DEPTHWISE_CONV_2D", (1, 8, 9, 24), (1, 3, 3, 24), (1, 8, 9, 24),
        options={**window(SAME), "depthMultiplier": 1}, axis=3,
    ),
    "5x5, stride 2, relu6": products(
        "DEPTHWISE_CONV_2D", (1, 11, 9, 7), (1, 5, 5, 7), (1, 6, 5, 7),
        options={**window(SAME, 2, activation=RELU6), "depthMultiplier": 1}, axis=3,
    ),
    "multiplier 3": products(
        "DEPTHWISE_CONV_2D", (1, 6, 6, 4), (1, 3, 3, 12), (1, 4, 4, 12),
        options={**window(), "depthMultiplier": 3}, axis=3,
    ),
    "dilated, int16": products(
        "DEPTHWISE_CONV_2D", (1, 9, 9, 8), (1, 3, 3, 8), (1, 9, 9, 8),
        options={**window(SAME, dilation=2), "depthMultiplier": 1}, axis=3, kind="int16",
        scale=0.0005,
    ),
}  # fmt: skip
DENSE = {
    "per channel": products(
        "FULLY_CONNECTED", (3, 20), (8, 20), (3, 8), options={}, scale=0.3
    ),
    "one scale for all, relu": products(
        "FULLY_CONNECTED", (1, 64), (10, 64), (1, 10), per_channel=False, scale=0.3,
        options={"fusedActivationFunction": RELU},
    ),
    "of an image, no bias": products(
        "FULLY_CONNECTED", (1, 3, 3, 4), (8, 36), (1, 8), bias=False, per_channel=False,
        options={}, scale=0.3,
    ),
    "axes kept": products(
        "FULLY_CONNECTED", (2, 3, 12), (8, 12), (2, 3, 8), per_channel=False,
        options={"keepNumDims": True}, scale=0.3,
    ),
    "int16": products(
        "FULLY_CONNECTED", (3, 20), (8, 20), (3, 8), kind="int16", per_channel=False,
        options={}, scale=0.001,
    ),
    "uint8": products(
        "FULLY_CONNECTED", (3, 20), (8, 20), (3, 8), kind="uint8", per_channel=False,
        options={}, scale=0.06,
    ),
}  # fmt: skip
PRODUCTS = {
    **{f"convolution, {name}": case for name, case in CONVOLUTIONS.items()},
    **{f"depthwise, {name}": case for name, case in DEPTHWISE.items()},
    **{f"dense, {name}": case for name, case in DENSE.items()},
}


@pytest.mark.parametrize("case", PRODUCTS)
def test_products_are_the_references_to_the_bit(case: str) -> None:
    check(PRODUCTS[case], case)


@pytest.mark.parametrize(
    ("kind", "per_channel"),
    [("int8", False), ("int8", True), ("uint8", False), ("int16", False), ("int16", True)],
)
def test_dense_layers_round_once(kind: str, per_channel: bool) -> None:
    """Of what lies just below a half, rounding twice gives the next number."""
    scale = 0.002 if kind == "int16" else 0.2
    case = products(
        "FULLY_CONNECTED",
        (1500, 20),
        (8, 20),
        (1500, 8),
        options={},
        kind=kind,
        scale=scale,
        per_channel=per_channel,
    )
    check(case, "dense")


def test_numbers_of_64_bits_stay_such_in_a_table() -> None:
    """Of a constant whose type isn't said, TVM makes an int32."""
    channelwise, values = Channelwise(), np.array([1 << 40, 5], np.int64)
    channelwise(values, "int64")
    (table,) = channelwise.constants
    np.testing.assert_array_equal(tvm_versions.constant_value(table), values)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_every_level_computes_the_same(level: int) -> None:
    check(CONVOLUTIONS["3x3, same, stride 2"], "levels", level=level)


OF_FOUR = [
    "convolution, 3x3, same, stride 2",
    "convolution, 1x1, relu6",
    "convolution, dilated, relu",
    "convolution, sums that no float32 holds",
    "dense, per channel",
    "dense, of an image, no bias",
]


@pytest.mark.parametrize("case", OF_FOUR)
def test_products_of_four_int8_at_once_are_the_references_too(case: str) -> None:
    """As they are for a target with an instruction for them, here by loops."""
    dot = target_code.dot_product(tvm.target.Target(DOTS))
    assert dot is not None
    names = [v.name_hint for v in imported(PRODUCTS[case], dot).get_global_vars()]
    assert any(name.endswith("int8") for name in names)
    check(PRODUCTS[case], case, dot=dot)


@pytest.mark.parametrize(
    ("target", "kind"), [(X86, "int8"), (DOTS, "int8"), (NEON, "float32"), (VECTORS, "int8")]
)
def test_weights_are_int8_where_loading_them_costs_little(
    target: dict[str, object], kind: str
) -> None:
    of = tvm.target.Target(target)
    module = imported(
        CONVOLUTIONS["1x1, relu6"],
        target_code.dot_product(of),
        widens=target_code.widens(of),
        short=target_code.adds_short_products(of),
    )
    constants: list[Array] = []

    def visit(expression: Any) -> None:
        if tvm_versions.is_constant(expression):
            constants.append(tvm_versions.constant_value(expression))

    relax.analysis.post_order_visit(pipeline.lower(module, of, 3)["main"], visit)
    assert max(constants, key=lambda one: one.size).dtype.name == kind


def test_float32_weights_give_the_same_integers() -> None:
    case = "3x3, same, stride 2"
    check(CONVOLUTIONS[case], case, widens=False)


@pytest.mark.parametrize("case", PRODUCTS)
def test_sums_of_products_of_int16_are_the_references_too(case: str) -> None:
    """As they are for a target with an instruction for them, here by loops."""
    check(PRODUCTS[case], case, short=True)


@pytest.mark.parametrize("case", ["1x1, relu6", "3x3, same, stride 2"])
def test_rvv_adds_products_of_int16_by_its_own_instruction(case: str) -> None:
    target = tvm.target.Target(VECTORS)
    module = imported(CONVOLUTIONS[case], short=target_code.adds_short_products(target))
    scheduled, others = pipeline.schedule(pipeline.lower(module, target, 3), target, 3)
    assert not [name for name in others if "conv" in name]
    code = assembly(scheduled, target)
    assert "vwmacc.vx" in code
    assert "vfmacc" not in code
