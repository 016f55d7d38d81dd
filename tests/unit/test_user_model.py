"""What a user says of a model file, in a TOML file beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.model_files import a_keras_file
from toolchain.core.errors import ModelError, UsageError
from toolchain.formats.signature import Tensor
from toolchain.models.resolve import resolve_model
from toolchain.models.specification import ModelSpec
from toolchain.samples import selection, user_arrays

SHAPE = (2, 4, 4, 1)


def own(folder: Path, text: str) -> ModelSpec:
    (folder / "net.toml").write_text(text)
    return resolve_model(model_file=a_keras_file(folder / "net.keras"))


def arrays(path: Path, **named: np.ndarray) -> Path:
    np.savez(path, **named)  # type: ignore[arg-type] # numpy's stub takes a flag by keyword
    return path


def test_a_model_without_a_file_beside_it_needs_none(tmp_path: Path) -> None:
    assert resolve_model(model_file=a_keras_file(tmp_path / "net.keras")).own is None


def test_the_files_it_names_are_part_of_what_the_model_is(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    spec = own(tmp_path, 'title = "Pets"\nlabels = "names.txt"\n')
    assert spec.own is not None
    assert spec.own.title == "Pets"
    assert spec.own.labels == tmp_path / "names.txt"
    (tmp_path / "names.txt").write_text("cat\ncow\n")
    assert own(tmp_path, 'title = "Pets"\nlabels = "names.txt"\n').digest != spec.digest


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title = ", "TOML"),
        ("threads = " + "9" * 5000, "TOML"),
        ("[constants]\nx = " + "[" * 3000 + "]" * 3000, "TOML"),
        ("[constants]\nx = " + "{a=" * 2000 + "1" + "}" * 2000, "TOML"),
        ("colour = 3", "colour"),
        ("[preprocessing]\nchannels = 'CMYK'", "preprocessing.channels"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ModelError) as caught:
        own(tmp_path, text)
    assert said in caught.value.brief + caught.value.detail


def test_a_file_that_is_not_there_is_named_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"calibration names some\.npz"):
        own(tmp_path, 'calibration = "some.npz"')
    with pytest.raises(UsageError, match="labels names aaa"):
        own(tmp_path, f'labels = "{"a" * 5000}"')


def test_calibration_inputs_fill_whole_batches(tmp_path: Path) -> None:
    arrays(tmp_path / "some.npz", x=np.ones((3, 4, 4, 1), np.float32))
    spec = own(tmp_path, 'calibration = "some.npz"')
    given = selection.calibration(spec, [Tensor(name="x", shape=SHAPE)], 2, {})
    assert given.arrays["x"].shape == (2, *SHAPE)


def test_without_anything_to_train_on_with_a_model_is_not_trained_on(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no labelled inputs") as caught:
        selection.training(own(tmp_path, ""), SHAPE)
    assert "training" in caught.value.resolution


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"x": np.zeros((3, 4, 4, 3), np.float32)}, "another shape"),
        ({"x": np.zeros((0, 4, 4, 1), np.float32)}, "another shape"),
        ({"x": np.zeros((3, 4, 4, 1), np.float64)}, "float64"),
        ({"x": np.full((3, 4, 4, 1), np.nan, np.float32)}, "not all finite"),
        ({"y": np.zeros(3)}, "lacks x"),
        ({"x": np.zeros((3, 4, 4, 1), np.float32)}, "lacks labels"),
        (
            {"x": np.zeros((3, 4, 4, 1), np.float32), "labels": np.zeros(4, int)},
            "labels don't match",
        ),
        ({"x": np.zeros((3, 4, 4, 1), np.float32), "labels": np.zeros(3)}, "labels don't match"),
    ],
)
def test_arrays_of_another_shape_or_type_are_refused(
    tmp_path: Path, given: dict[str, np.ndarray], said: str
) -> None:
    path = arrays(tmp_path / "some.npz", **given)
    with pytest.raises(ModelError, match=said):
        user_arrays.load(path, SHAPE, labelled="labels" in said)


def test_a_file_that_is_no_npz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    path.write_text("hello")
    with pytest.raises(ModelError, match=r"can't be read as \.npz"):
        user_arrays.load(path, SHAPE)
