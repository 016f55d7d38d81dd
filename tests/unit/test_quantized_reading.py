"""What of a .tflite file is read, and what is refused by name."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.quantized_operators import generator, imported, steps, unary
from tests.support.tflite_models import Tensor
from toolchain.compile.quantized import importer
from toolchain.core.errors import ModelError
from toolchain.formats import signature
from toolchain.formats.rounding import tflite_network
from toolchain.formats.rounding.tflite_network import NotImportedError

A = steps(3, 4)
WHOLE = unary("RESHAPE", A, steps(4, 3), shape=np.array([4, 3], np.int32))


def test_an_operator_that_is_not_known_is_named() -> None:
    content = unary("ABS", A, A)
    with pytest.raises(NotImportedError, match="operator ABS"):
        imported(content)


def test_a_float_network_is_left_alone() -> None:
    x = Tensor(shape=(2, 3), kind="float32")
    content = unary("RELU", x, x)
    given = [signature.Tensor(name="x", shape=(2, 3), dtype="float32")]
    assert importer.from_tflite(content, given, given, (["x"], ["x"])) is None


@pytest.mark.parametrize(
    ("scale", "zero", "why"),
    [
        ([0.0], [0], "zero, negative or not finite"),
        ([float("nan")], [0], "zero, negative or not finite"),
        ([float("inf")], [0], "zero, negative or not finite"),
        ([-0.1], [0], "zero, negative or not finite"),
        ([0.1, 0.2, 0.3, 0.0], [0, 0, 0, 0], "zero, negative or not finite"),
        ([0.1, 0.2], [0, 0], "2 scales along axis 0"),
        ([0.1], [0, 0], "1 scales and 2 zero points"),
    ],
)
def test_a_quantisation_parameter_that_cannot_be_one_is_refused_by_name(
    scale: list[float], zero: list[int], why: str
) -> None:
    x = Tensor(shape=(3, 4), scale=scale, zero=zero)
    content = unary("RELU", x, A)
    for reading in (tflite_network.read, tflite_network.check_parameters):
        with pytest.raises(ModelError) as caught:
            reading(content)
        assert "operator RELU, tensor x" in caught.value.detail
        assert why in caught.value.detail


def test_a_quantisation_parameter_that_is_missing_is_named() -> None:
    bare = Tensor(shape=(3, 4))
    with pytest.raises(NotImportedError, match="RELU: tensor x has no single scale"):
        imported(unary("RELU", bare, A))


def test_a_scale_that_an_operator_computes_with_is_missed_before_anything_runs() -> None:
    bare = Tensor(shape=(3, 4))
    tflite_network.check_parameters(unary("RESHAPE", bare, bare))
    with pytest.raises(ModelError) as caught:
        tflite_network.check_parameters(unary("LOGISTIC", bare, A))
    assert "operator LOGISTIC, tensor x: its scale is missing" in caught.value.detail


@pytest.mark.parametrize("kept", [4, 20, 200, 0.5, 0.9])
def test_a_file_that_was_cut_short_is_refused(kept: float) -> None:
    whole = WHOLE
    size = int(kept if kept > 1 else kept * len(whole))
    with pytest.raises((ModelError, NotImportedError)):
        tflite_network.read(whole[:size])


def test_no_change_of_a_byte_does_more_than_refuse() -> None:
    whole = WHOLE
    draw = generator("bytes")
    for _ in range(400):
        damaged = bytearray(whole)
        for place in draw.integers(0, len(whole), 3):
            damaged[place] = draw.integers(0, 256)
        try:
            tflite_network.check_parameters(bytes(damaged))
            tflite_network.read(bytes(damaged))
        except (ModelError, NotImportedError):
            continue
