"""Extras: what is said where one is not installed, and which files of pickles are refused."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from toolchain import convert, extras, mirrors, models, relock
from toolchain.convert import onnx_tflite, pytorch_file
from toolchain.errors import ModelError, UsageError


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any extra, its cache in a folder of its own."""
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "cache"))
    known = {
        name: extra if extra.apart else replace(extra, module="no_such_module")
        for name, extra in extras.EXTRAS.items()
    }
    monkeypatch.setattr(extras, "EXTRAS", known)
    return tmp_path


def archive(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as made:
        for name in ("net/models/model.json", *names):
            made.writestr(name, "{}")
    return path


def graph() -> onnx.ModelProto:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 4))
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 4))
    node = helper.make_node("Relu", ["x"], ["y"])
    return helper.make_model(helper.make_graph([node], "net", [value], [out]))


def test_a_program_without_pytorch_says_what_to_install(bare: Path) -> None:
    with pytest.raises(ModelError, match="pytorch, which reads") as caught:
        pytorch_file.load(archive(bare / "net.pt2"))
    assert "invoke setup --extra pytorch" in caught.value.resolution


def test_a_graph_without_onnx2tf_says_what_to_install(bare: Path) -> None:
    assert not (bare / "cache").exists()
    with pytest.raises(ModelError, match="onnx2tf, which makes") as caught:
        onnx_tflite.convert(graph())
    assert "invoke setup --extra onnx2tf" in caught.value.resolution


@pytest.mark.parametrize("name", ["opaque_obj_0", "custom_obj_1"])
def test_pickled_objects_are_refused_before_anything_reads_them(tmp_path: Path, name: str) -> None:
    path = archive(tmp_path / "net.pt2", f"net/data/constants/{name}")
    with pytest.raises(ModelError, match="code inside the file") as caught:
        pytorch_file.refuse_pickled(path)
    assert name in caught.value.detail


def test_weights_of_a_program_are_no_reason_to_refuse_it(tmp_path: Path) -> None:
    pytorch_file.refuse_pickled(archive(tmp_path / "net.pt2", "net/data/weights/weight_0"))


def test_an_unknown_extra_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="unknown extra: jax") as caught:
        extras.install("jax", print)
    assert "onnx2tf" in caught.value.resolution


def test_installing_an_extra_makes_another_conversion_of_its_kinds_alone(bare: Path) -> None:
    path = bare / "net.onnx"
    path.write_bytes(graph().SerializeToString())
    own, known = models.resolve(model_file=path), models.resolve("digits-cnn")
    before = [convert.identity(spec, 1) for spec in (own, known)]
    folder = extras.environment(extras.EXTRAS["onnx2tf"])
    folder.mkdir(parents=True)
    assert [convert.identity(spec, 1) for spec in (own, known)] == before
    (folder / extras.INSTALLED).touch()
    after = [convert.identity(spec, 1) for spec in (own, known)]
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_every_extra_has_pins_with_hashes_that_the_lock_renews() -> None:
    for extra in extras.EXTRAS.values():
        assert extra.requirements.stem in relock.REQUIREMENTS
        text = extra.requirements.read_text()
        pins = [line for line in text.splitlines() if "==" in line]
        assert pins
        assert all(line.endswith(" \\") for line in pins)
        assert text.count("--hash=sha256:") >= len(pins)


def test_an_extra_beside_the_rest_keeps_its_versions() -> None:
    names = {name: relock.pins(name) for name in relock.REQUIREMENTS}
    both = names["requirements"].keys() & names["requirements-pytorch"].keys()
    assert "numpy" in both
    assert {n: names["requirements-pytorch"][n] for n in both} == {
        n: names["requirements"][n] for n in both
    }


def test_wheels_that_are_on_no_index_are_looked_for_where_pip_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels https://example.org/torch")
    assert mirrors.besides_pypi() == "/wheels,https://example.org/torch"


def test_unknown_requirements_are_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="unknown requirements: jax") as caught:
        relock.relock_requirements(["jax"])
    assert "requirements-pytorch" in caught.value.resolution
