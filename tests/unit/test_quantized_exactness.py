"""Scales whose quotients round otherwise in float32 and float64, and those near a power of two.

TensorFlow Lite divides some scales in float32 and others in float64, operator by operator; where a
quotient is a half that float32 alone has, every second step shows which.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.support import tflite_models
from tests.support.quantized_operators import binary, check, steps, unary, wide
from tests.support.tflite_models import Operator, Tensor

UNIT = 2.0**-28
OF = 11184809  # an odd number whose quotients here are nearer to 1.5 than float32 can say
OUTPUT, BELOW, ABOVE = OF * UNIT, (3 * OF - 1) // 2 * UNIT, (3 * OF + 1) // 2 * UNIT
SHAPE = (6, 50)


def bent(kind: str, scale: float, alpha: float) -> bytes:
    x, y = (steps(*SHAPE, kind=kind, scale=of, zero=0) for of in (scale, OUTPUT))
    return unary("LEAKY_RELU", x, y, "LeakyReluOptions", {"alpha": alpha})


def softmax(scale: float, beta: float) -> bytes:
    x, y = wide(300, 50, scale=scale), wide(300, 50, scale=1 / 32768)
    return unary("SOFTMAX", x, y, "SoftmaxOptions", {"beta": beta})


CASES = {
    **{
        f"RELU, {kind}": unary(
            "RELU",
            steps(*SHAPE, kind=kind, scale=BELOW, zero=0),
            steps(*SHAPE, kind=kind, scale=OUTPUT, zero=0),
        )
        for kind in ("int8", "int16")
    },
    "RELU, uint8": unary(
        "RELU",
        steps(*SHAPE, kind="uint8", scale=BELOW, zero=100),
        steps(*SHAPE, kind="uint8", scale=OUTPUT, zero=9),
    ),
    **{f"LEAKY_RELU, above, {kind}": bent(kind, BELOW, 0.1) for kind in ("int8", "int16")},
    **{f"LEAKY_RELU, below, {kind}": bent(kind, 2 * ABOVE, 0.5) for kind in ("int8", "int16")},
    "PRELU": tflite_models.model(
        {
            "x": steps(*SHAPE, scale=BELOW, zero=0),
            "slope": Tensor(shape=(1,), scale=[0.25], zero=[0], value=np.array([1], np.int8)),
            "y": steps(*SHAPE, scale=OUTPUT, zero=0),
        },
        [Operator(name="PRELU", inputs=["x", "slope"], outputs=["y"])],
    ),
    "QUANTIZE": unary(
        "QUANTIZE", steps(*SHAPE, scale=BELOW, zero=0), steps(*SHAPE, scale=OUTPUT, zero=0)
    ),
    "MEAN": unary(
        "MEAN",
        steps(40, 1, 7, scale=BELOW, zero=0),
        steps(40, 7, scale=OUTPUT, zero=0),
        "ReducerOptions",
        {"keepDims": False},
        axes=np.array([1], np.int32),
    ),
    "MUL": binary(
        "MUL",
        steps(*SHAPE, scale=BELOW, zero=0),
        steps(1, scale=0.25, zero=-120),
        steps(*SHAPE, scale=OUTPUT, zero=0),
    ),
    **{
        f"{name}, {ratio} of a power of two": unary(
            name, wide(*SHAPE, scale=ratio / 4096), wide(*SHAPE, scale=1 / 32768)
        )
        for name in ("LOGISTIC", "TANH")
        for ratio in (0.9995, 1.0005, 1.0008, 2.001)
    },
    "SOFTMAX, beta 1.63": softmax(6.094573e-05, 1.6306492),
    "SOFTMAX, beta 0.87": softmax(8.6216206e-05, 0.8728788),
}


def test_the_scales_are_a_half_in_float32_alone() -> None:
    for scale in (BELOW, ABOVE):
        assert float(np.float32(scale)) == scale
        assert np.float32(scale) / np.float32(OUTPUT) == np.float32(1.5)
        assert scale / OUTPUT != 1.5


@pytest.mark.parametrize("case", CASES)
def test_scales_are_divided_with_as_many_bits_as_the_reference_has(case: str) -> None:
    check(CASES[case], case)
