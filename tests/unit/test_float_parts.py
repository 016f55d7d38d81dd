"""What stays floating point in a rounded ONNX graph is known by its nodes."""

from __future__ import annotations

import onnx
from onnx import helper

from tests.support.networks import model, random
from tests.support.quantized_networks import convolution, of_weights, rounded, rounding, weights
from toolchain.formats.rounding.onnx_float_parts import float_parts


def parts(of: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in float_parts(onnx.shape_inference.infer_shapes(of))]


def test_a_layer_of_rounded_values_and_its_activation_are_none() -> None:
    assert parts(convolution((1, 3, 9, 9), 4, 3)) == []


def test_what_is_not_rounded_is_named() -> None:
    mixed = model(
        [
            *rounded("x", "r"),
            *of_weights("w"),
            helper.make_node("Conv", ["r", "w"], ["c"]),
            helper.make_node("Relu", ["c"], ["a"]),
            *rounded("a", "d"),
            helper.make_node("Exp", ["d"], ["e"]),
            helper.make_node("Conv", ["e", "v"], ["f"]),
            helper.make_node("Flatten", ["f"], ["g"]),
            helper.make_node("Softmax", ["g"], ["y"]),
        ],
        (1, 8, 6, 6),
        {**rounding(), **weights("w", 8, 8, 1, 1, scales=8), "v": random(4, 8, 1, 1)},
    )
    assert parts(mixed) == ["Exp", "Conv", "Softmax"]


def test_a_product_of_two_computed_values_is_one() -> None:
    attention = model(
        [
            *rounded("x", "r"),
            helper.make_node("Transpose", ["r"], ["t"], perm=[0, 2, 1]),
            helper.make_node("MatMul", ["r", "t"], ["m"]),
            *rounded("m", "y"),
        ],
        (1, 4, 6),
        rounding(),
    )
    assert parts(attention) == ["MatMul"]


def test_a_value_that_is_read_twice_at_each_step_is_looked_at_once() -> None:
    chain = [
        helper.make_node("PRelu", [f"v{n}", f"v{n}"], [f"v{n + 1}"]) for n in range(200)
    ]  # 2^200 paths
    many = model(
        [helper.make_node("Exp", ["x"], ["v0"]), *chain, *rounded("v200", "y")],
        (1, 4),
        rounding(),
    )
    assert "Exp" not in parts(many)
