"""The runner with networks of several inputs and outputs, and files of samples of before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgewright_runner import job
from edgewright_runner.backends import tflite
from edgewright_runner.samples import Samples

from toolchain.results.measurement import Parity

SIGNATURE = {
    "inputs": [{"name": "x"}, {"name": "ids"}],
    "outputs": [
        {"name": "y"},
        {"name": "steps", "quantization": {"scale": 0.5, "zero": 1}},
        {"name": "found"},
    ],
}


def saved(folder: Path) -> Path:
    """Two inferences of two inputs and three outputs: numbers, steps of 0.5, truth values."""
    arrays: dict[str, Any] = {
        "in:x": np.arange(12, dtype=np.float32).reshape(2, 1, 6),
        "in:ids": np.array([3, 4]),
        "out:y": np.array([[[1.0, -2.0]], [[4.0, 0.0]]], np.float32),
        "out:steps": np.array([[[5]], [[7]]], np.int8),
        "out:found": np.array([[[True]], [[False]]]),
    }
    np.savez(folder / "samples.npz", allow_pickle=False, **arrays)
    return folder / "samples.npz"


def verdict(samples: Samples, **changed: Any) -> Parity:
    """What comes of the reference's own outputs, with some of them changed."""
    for group in range(samples.groups):
        own = {name: array[group] for name, array in samples.references.items()}
        samples.keep(group, {**own, **changed})
    return Parity.model_validate(samples.verdict()["parity"])


def test_each_output_is_compared_by_itself(tmp_path: Path) -> None:
    samples = Samples(saved(tmp_path), 1, signature=SIGNATURE)
    assert samples.input(1)["ids"].shape == ()
    parity = verdict(samples)
    assert (parity.count, parity.max_abs, parity.top1_agree) == (2, 0, None)
    assert [output.name for output in parity.outputs] == ["y", "steps", "found"]
    assert parity.holds


def test_an_output_that_differs_says_by_how_much(tmp_path: Path) -> None:
    parity = verdict(
        Samples(saved(tmp_path), 1, signature=SIGNATURE),
        y=np.array([[1.0, -1.0]], np.float32),
        steps=np.array([[6]], np.int8),
        found=np.array([[True]]),
    )
    numbers, steps, found = parity.outputs
    assert (numbers.max_abs, numbers.reference_range) == (3, 6)
    # 10 log10((1 + 4 + 16) / (1 + 9 + 1))
    assert numbers.sqnr_db == pytest.approx(2.8)
    assert (steps.max_abs, steps.holds) == (0.5, True)
    assert (found.differing, found.holds) == (0.5, False)
    assert not parity.holds


def test_an_output_of_another_size_is_named(tmp_path: Path) -> None:
    samples = Samples(saved(tmp_path), 1, signature=SIGNATURE)
    with pytest.raises(ValueError, match=r"output y has shape \(1, 3\), the reference \(1, 2\)"):
        verdict(samples, y=np.zeros((1, 3), np.float32))


def test_a_variants_references_take_the_place_of_the_samples(tmp_path: Path) -> None:
    np.savez(tmp_path / "reference-int8.npz", allow_pickle=False, **{"out:y": np.ones((2, 1, 2))})
    samples = Samples(saved(tmp_path), 1, tmp_path / "reference-int8.npz", SIGNATURE)
    assert samples.references["y"].tolist() == [[[1, 1]], [[1, 1]]]


def test_a_job_of_before_takes_the_names_of_the_file(tmp_path: Path) -> None:
    named = job.named_as(Samples(saved(tmp_path), 1))
    assert [one["name"] for one in named["inputs"]] == ["x", "ids"]
    x = np.zeros((4, 3), np.float32)
    np.savez(tmp_path / "before.npz", x=x, reference=x)
    named = {**SIGNATURE, "outputs": [{"name": "y"}]}
    before = Samples(tmp_path / "before.npz", 2, signature=named)
    assert before.input(0)["x"].shape == (2, 3)
    assert before.references["y"].shape == (2, 2, 3)
    assert before.is_classification


def test_rounded_scores_are_a_classification_too(tmp_path: Path) -> None:
    scores = np.array([[[1, 9]], [[9, 1]]], np.uint8)
    np.savez(tmp_path / "s.npz", allow_pickle=False, **{"in:x": scores, "out:y": scores})
    scale = {"scale": 0.1, "zero": 0}
    its = {"inputs": [{"name": "x"}], "outputs": [{"name": "y", "quantization": scale}]}
    assert verdict(Samples(tmp_path / "s.npz", 1, signature=its)).top1_agree == 2


class TwoByTwo:
    """An interpreter whose file has its inputs and outputs the other way round."""

    def __init__(self) -> None:
        self.given: dict[int, np.ndarray] = {}

    def get_input_details(self) -> list[dict[str, Any]]:
        return [{"index": 7, "dtype": np.int32}, {"index": 8, "dtype": np.float32}]

    def get_output_details(self) -> list[dict[str, Any]]:
        return [{"index": 9}, {"index": 8}]

    def set_tensor(self, index: int, array: np.ndarray) -> None:
        self.given[index] = array

    def get_tensor(self, index: int) -> np.ndarray:
        return self.given[index] if index in self.given else self.given[7] * 2


def test_names_are_put_beside_the_files_tensors_in_its_order() -> None:
    backend = tflite.Backend.__new__(tflite.Backend)
    interpreter = TwoByTwo()
    backend._interpreter = interpreter
    backend.bind(
        {
            "inputs": [{"name": "ids"}, {"name": "x"}],
            "outputs": [{"name": "twice", "dtype": "int64"}, {"name": "same"}],
        }
    )
    backend.set_inputs({"x": np.ones(2, np.float32), "ids": np.array([3, 4])})
    assert interpreter.given[7].dtype == np.int32
    found = backend.outputs()
    assert found["twice"].tolist() == [6, 8]
    assert found["twice"].dtype == np.dtype(np.int64)
    assert found["same"].tolist() == [1, 1]
    with pytest.raises(ValueError, match="has 2 inputs, 1 were expected"):
        backend.bind({"inputs": [{"name": "x"}], "outputs": []})
