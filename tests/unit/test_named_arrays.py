"""A user's samples for networks of any inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from toolchain.core.errors import ModelError
from toolchain.formats.signature import Tensor
from toolchain.samples import named_arrays
from toolchain.samples.sets import Array

IDS = Tensor(name="ids", shape=(1, 4), dtype="int64")
STATE = Tensor(name="h", shape=(2, 1, 3))
STATE_0 = np.zeros(STATE.shape, np.float32)


def saved(folder: Path, **arrays: Array) -> Path:
    path = folder / "samples.npz"
    np.savez(path, allow_pickle=False, **arrays)
    return path


def test_an_array_for_each_input_is_one_inference_or_several(tmp_path: Path) -> None:
    one = saved(tmp_path, ids=np.ones((1, 4), np.int64), h=np.zeros((2, 1, 3), np.float32))
    assert len(named_arrays.load(one, [IDS, STATE], 1, {})) == 1
    five = saved(tmp_path, ids=np.ones((5, 4), np.int64), h=np.zeros((5, 2, 1, 3), np.float32))
    found = named_arrays.load(five, [IDS, STATE], 1, {})
    assert [a.shape for a in found.arrays.values()] == [(5, 1, 4), (5, 2, 1, 3)]


def test_an_only_input_may_be_called_x_and_fills_whole_batches(tmp_path: Path) -> None:
    x = Tensor(name="image", shape=(2, 3))
    path = saved(tmp_path, x=np.ones((5, 3), np.float32), labels=np.arange(5))
    found = named_arrays.load(path, [x], 2, {})
    assert found.arrays["image"].shape == (2, 2, 3)
    assert found.labels is not None
    assert found.labels.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"ids": np.ones((1, 4), np.int64)}, "no array for input h"),
        ({"ids": np.ones((1, 4), np.int64), "H": np.zeros(3)}, "no array for input h"),
        (
            {
                "ids": np.ones((1, 4), np.int64),
                "h": np.zeros((2, 1, 3), np.float32),
                "c": np.ones(1),
            },
            "c is no input",
        ),
        (
            {"ids": np.ones((1, 5), np.int64), "h": STATE_0},
            "ids has another shape",
        ),
        (
            {"ids": np.ones((1, 4), np.int32), "h": STATE_0},
            "ids is int32, int64 is expected",
        ),
        (
            {"ids": np.full((1, 4), 9), "h": STATE_0},
            "an index beyond its table",
        ),
        (
            {"ids": np.ones((3, 4), np.int64), "h": STATE_0},
            "different numbers of inferences",
        ),
        (
            {"ids": np.ones((1, 4), np.int64), "h": np.full((2, 1, 3), np.nan, np.float32)},
            "h is not all finite",
        ),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, arrays: dict[str, Array], said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        named_arrays.load(saved(tmp_path, **arrays), [IDS, STATE], 1, {"ids": 9})
    assert caught.value.resolution
