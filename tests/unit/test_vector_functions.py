"""Functions of one number at a time after exponentials, whose variables TVM's vectoriser loses."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.support.compiled import PC, assembly, scheduled
from tests.support.conformance import pipeline as whole
from tests.support.networks import lowered, model, random
from toolchain.compile import pipeline
from toolchain.formats import onnx_reference

SHAPE = (2, 3, 5, 8)
STEP, ZERO = np.array(0.01, np.float32), np.array(3, np.int8)


def chain(*operators: str) -> onnx.ModelProto:
    """The operators one after another."""
    names = ["x", *[f"v{n}" for n in range(len(operators) - 1)], "y"]
    return model(
        [
            helper.make_node(operator, [given], [made])
            for operator, given, made in zip(operators, names, names[1:], strict=False)
        ],
        SHAPE,
    )


def rounded(operator: str) -> onnx.ModelProto:
    """An operator whose input and output are rounded to 8 bits."""
    scales = ["s", "z"]
    return model(
        [
            helper.make_node("QuantizeLinear", ["x", *scales], ["q"]),
            helper.make_node("DequantizeLinear", ["q", *scales], ["d"]),
            helper.make_node(operator, ["d"], ["e"]),
            helper.make_node("QuantizeLinear", ["e", *scales], ["r"]),
            helper.make_node("DequantizeLinear", ["r", *scales], ["y"]),
        ],
        SHAPE,
        {"s": STEP, "z": ZERO},
    )


CASES = {
    **{f"rounded {one}": rounded(one) for one in ("Exp", "Sigmoid", "Tanh", "Erf")},
    "an arc tangent between": chain("Atan", "Sigmoid", "Atan"),
    "a threshold before": chain("ThresholdedRelu", "Exp"),
    "rounding between": chain("Round", "Tanh", "Round"),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_compiled_with_schedules_and_right(case: str) -> None:
    x = random(*SHAPE)
    (right,) = onnx_reference.run(CASES[case], {"x": x})
    (found,) = whole.run(CASES[case], {"x": x}, 3)
    # a value on the border of two steps may be of either
    np.testing.assert_allclose(found, right, rtol=1e-5, atol=0.0101 if "rounded" in case else 1e-6)
    assert (np.abs(found - right) > 1e-5).mean() < 0.01
    _, without = pipeline.schedule(lowered(CASES[case], 3), PC, 3)
    assert without == []


def test_rounding_is_of_whole_vectors() -> None:
    """As a call for each number it kept every loop that rounds from being vectorised."""
    text = assembly(scheduled(chain("Round"), PC), PC)
    assert "vroundps" in text
    assert "nearbyint" not in text
