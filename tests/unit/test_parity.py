"""How far outputs are from their source's: what is counted, and what each arithmetic allows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from toolchain.convert import parity
from toolchain.convert.parity import Outputs
from toolchain.core.errors import ModelError
from toolchain.formats.signature import OpenTensor, Quantization, Tensor

Array = npt.NDArray[Any]


def outputs(batch: int = 1, **arrays: Array) -> Outputs:
    tensors = [
        OpenTensor(name=n, dims=(), dtype=a.dtype.name).fixed(a.shape[1:])
        for n, a in arrays.items()
    ]
    return Outputs(tensors=tensors, arrays=arrays, batch=batch)


def scores(*rows: list[float]) -> Array:
    """An inference a row."""
    return np.array(rows, np.float32)[:, np.newaxis]


def rounded(values: Array) -> Outputs:
    """One output that is itself rounded, in steps of 0.1."""
    scale = Quantization(scale=0.1, zero=3)
    tensor = Tensor(name="y", shape=values.shape[1:], dtype="int8", quantization=scale)
    return Outputs(tensors=[tensor], arrays={"y": values}, batch=1)


def test_a_comparison_counts_what_differs() -> None:
    reference = outputs(y=scores([0, 1], [2, 0]))
    check = parity.compare("onnx", reference, {"y": scores([0, 1.0005], [2, 0])})
    assert check.max_abs == pytest.approx(5e-4, rel=1e-2)
    assert check.max_rel == pytest.approx(5e-4, rel=1e-2)
    assert check.top1_agreement == 1
    assert check.count == 2
    (output,) = check.outputs
    assert output.of_range == pytest.approx(2.5e-4, rel=1e-2)
    # 10 log10((1 + 4) / 0.0005^2)
    assert output.sqnr_db == pytest.approx(73.0, abs=0.1)


@pytest.mark.parametrize("wrong", [[1.0, 0.0], [np.nan, 1.0], [0.0, 1.01]])
def test_a_conversion_that_computes_something_else_is_refused(wrong: list[float]) -> None:
    with pytest.raises(ModelError, match="disagrees"):
        parity.compare("onnx", outputs(y=scores([0, 1])), {"y": scores(wrong)})


def test_what_is_not_a_number_in_the_source_is_none_in_the_conversion() -> None:
    reference = scores([np.nan, 1], [np.inf, 1])
    assert parity.compare("onnx", outputs(y=reference), {"y": reference}).max_abs == 0


def test_an_output_of_another_shape_is_refused() -> None:
    with pytest.raises(ModelError, match="output y has another shape"):
        parity.compare("onnx", outputs(y=scores([0, 0])), {"y": scores([0, 0, 0])})


def test_of_several_outputs_the_wrong_one_is_named_and_none_is_a_class() -> None:
    reference = outputs(boxes=scores([5, 9]), ids=np.array([[[3, 4]]]))
    assert parity.compare("onnx", reference, dict(reference.arrays)).top1_agreement is None
    with pytest.raises(ModelError) as caught:
        parity.compare("onnx", reference, {**reference.arrays, "ids": np.array([[[3, 5]]])})
    assert "ids: largest difference 1, 0.5 of the values differ" in caught.value.detail
    assert "boxes" not in caught.value.detail


def test_one_index_of_thousands_may_end_on_the_other_side_of_a_tie() -> None:
    ids = np.zeros((1, 1, 64, 64), np.int64)
    other = ids.copy()
    other[0, 0, 5, 5] = 1
    (output,) = parity.compare("onnx", outputs(ids=ids), {"ids": other}).outputs
    assert output.differing == pytest.approx(1 / 4096, rel=1e-2)


def test_a_detector_that_sees_nothing_differs_by_rounding_alone() -> None:
    nothing = scores([1e-7, 2e-8])
    assert parity.compare("onnx", outputs(y=nothing), {"y": nothing * 3}).max_abs == 2e-7
    with pytest.raises(ModelError, match="disagrees"):
        parity.compare("onnx", outputs(y=nothing), {"y": nothing + np.float32(1e-6)})


def test_half_as_many_digits_allow_more() -> None:
    half = scores([1, 0.5]).astype(np.float16)
    parity.compare("onnx", outputs(y=half), {"y": half + np.float16(5e-3)})
    with pytest.raises(ModelError, match="disagrees"):
        parity.compare("onnx", outputs(y=half), {"y": half + np.float16(0.1)})


def test_an_output_that_is_rounded_may_be_steps_of_its_scale_away() -> None:
    reference = rounded(np.array([[[10, 20]], [[12, 21]]], np.int8))
    near = {"y": reference.arrays["y"] + np.int8(3)}
    assert parity.compare("onnx", reference, near).max_abs == pytest.approx(0.3)
    with pytest.raises(ModelError, match="disagrees") as caught:
        parity.compare("onnx", reference, {"y": reference.arrays["y"] + np.int8(9)})
    assert "steps of 0.1" in caught.value.detail


def test_where_activations_are_rounded_the_median_sample_decides() -> None:
    reference = outputs(y=scores([1, 0], [1, 0], [1, 0]))
    found = {"y": scores([1.3, 0], [1.01, 0], [1, 0])}
    assert parity.compare("onnx", reference, found, arithmetic="integers").max_rel == pytest.approx(
        0.3
    )
    with pytest.raises(ModelError, match="disagrees"):
        parity.compare("onnx", reference, found)
