"""The catalogue, and which model a command's options mean."""

from __future__ import annotations

import pkgutil
import zipfile
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.support.model_files import a_keras_file
from toolchain.convert import networks
from toolchain.core.errors import ModelError, UsageError
from toolchain.models import catalogue, place
from toolchain.models.resolve import resolve_model


def test_an_image_has_a_mean_and_a_deviation_for_each_channel_that_the_network_takes() -> None:
    taking_images = [e for e in catalogue.entries().values() if e.preprocessing is not None]
    assert len(taking_images) > 10
    for entry in taking_images:
        how = entry.image_preprocessing()
        assert len(how.mean) == len(how.std) == entry.shape[2], entry.name


def test_an_entry_says_how_its_inputs_are_made() -> None:
    entry = catalogue.entries()["ds-cnn"].model_dump()
    with pytest.raises(ValidationError, match=r"inputs of sounds need \[spectrogram\]"):
        catalogue.CatalogueEntry(**{**entry, "spectrogram": None})
    with pytest.raises(ValidationError, match="classification needs classes"):
        catalogue.CatalogueEntry(**{**entry, "classes": None})


def test_what_takes_sounds_takes_no_images() -> None:
    with pytest.raises(ModelError, match="ds-cnn takes no images"):
        catalogue.entries()["ds-cnn"].image_preprocessing()


def test_a_network_of_the_catalogue_has_a_module_of_its_name() -> None:
    named = {e.constructor for e in catalogue.entries().values() if e.source == "network"}
    assert named == {module.name for module in pkgutil.iter_modules(networks.__path__)}


def test_what_others_measured_is_no_part_of_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    before = resolve_model("densenet121")
    assert before.entry is not None
    other = before.entry.model_copy(update={"published_top1": 1.0})
    monkeypatch.setattr(catalogue, "entries", lambda: {"densenet121": other})
    assert resolve_model("densenet121").digest == before.digest


def test_an_unknown_model_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        resolve_model("mobilnet")
    assert "mobilenetv3-large" in caught.value.resolution


def test_no_model_at_all_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        resolve_model()
    assert "digits-cnn" in caught.value.resolution


def test_another_seed_is_another_model() -> None:
    first = resolve_model("densenet121")
    assert first.digest == resolve_model("densenet121").digest
    assert first.digest != resolve_model("densenet121", seed=1).digest


def test_other_bytes_are_another_model(tmp_path: Path) -> None:
    path = a_keras_file(tmp_path / "net.keras", "a")
    first = resolve_model(model_file=path)
    assert (first.name, first.kind) == ("net", "keras")
    assert resolve_model(model_file=path).digest == first.digest
    a_keras_file(path, "b")
    assert resolve_model(model_file=path).digest != first.digest


def test_a_file_may_stand_where_a_name_is_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = a_keras_file(tmp_path / "net.keras")
    for typed in (str(path), "net.keras", "./net.keras"):
        monkeypatch.chdir(tmp_path)
        assert resolve_model(typed) == resolve_model(model_file=path)
    with pytest.raises(UsageError, match=r"no such file: other\.onnx"):
        resolve_model("other.onnx")
    (tmp_path / "digits-cnn").mkdir()
    assert resolve_model("digits-cnn").entry is not None, "the catalogue's names come first"


def test_a_file_may_be_given_a_name(tmp_path: Path) -> None:
    path = a_keras_file(tmp_path / "My Net (v2).keras")
    assert resolve_model(model_file=path).name == "my-net-v2"
    assert resolve_model("second", model_file=path).name == "second"


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "-x"])
def test_a_name_is_never_a_path_or_an_option(tmp_path: Path, name: str) -> None:
    path = a_keras_file(tmp_path / "net.keras")
    if name:
        with pytest.raises(UsageError):
            resolve_model(name, model_file=path)
    else:
        assert resolve_model(name, model_file=path).name == "net"


def test_a_file_must_not_take_a_catalogue_models_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="catalogue"):
        resolve_model(model_file=a_keras_file(tmp_path / "digits-cnn.keras"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.onnx"):
        resolve_model(model_file=tmp_path / "nowhere.onnx")


def test_an_unknown_kind_of_file_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    path = tmp_path / "net.caffemodel"
    path.write_bytes(b"x")
    with pytest.raises(UsageError) as caught:
        resolve_model(model_file=path)
    assert ".onnx" in caught.value.resolution


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("net.h5", b"", "empty"),
        ("net.h5", b"hello, I am text", "not a .h5 file"),
        ("net.hdf5", b"hello, I am text", "not a .hdf5 file"),
        ("net.keras", b"PK\x03\x04 cut short", "not a .keras file"),
        ("net.pt2", b"PK\x03\x04 cut short", "not a .pt2 file"),
        ("net.onnx", b"hello", "not an ONNX model"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelError, match=said) as caught:
        resolve_model(model_file=path)
    assert caught.value.resolution


@pytest.mark.parametrize("name", ["net.pt", "net.pth"])
def test_a_pickled_file_is_answered_with_the_way_it_can_take(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"PK")
    with pytest.raises(UsageError, match="runs code in them") as caught:
        resolve_model(model_file=path)
    assert "torch.export.save" in caught.value.resolution


def test_an_exported_program_is_read_by_pytorch(tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/models/model.json", "{}")
    assert resolve_model(model_file=path).kind == "pytorch"


def test_a_folder_that_is_no_saved_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"saved_model\.pb"):
        resolve_model(model_file=tmp_path)


def test_weights_are_part_of_what_a_model_is(tmp_path: Path) -> None:
    weights = a_keras_file(tmp_path / "w.keras")
    spec = resolve_model("densenet121", weights=weights)
    assert spec.digest != resolve_model("densenet121").digest


def test_weights_for_a_users_own_file_are_refused(tmp_path: Path) -> None:
    path = a_keras_file(tmp_path / "net.keras")
    with pytest.raises(UsageError, match="catalogue"):
        resolve_model(model_file=path, weights=path)


def test_the_folder_of_a_model_is_said_by_one_function(tmp_path: Path) -> None:
    folder = place.folder_of("net", 2, tmp_path)
    assert folder == tmp_path / "net" / "b2"
    folder.mkdir(parents=True)
    assert place.all_folders(tmp_path) == [folder]
