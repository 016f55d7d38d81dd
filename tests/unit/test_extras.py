"""Extras: what is said where one is not installed, and which files of pickles are refused."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from tests.support.mirror import Mirror
from toolchain.convert import conversion, onnx2tf
from toolchain.core import paths, process
from toolchain.core.errors import LockError, ModelError, UsageError
from toolchain.formats import pytorch_file
from toolchain.lock import mirrors, resolve
from toolchain.models.resolve import resolve_model
from toolchain.workstation import extras
from toolchain.workstation.extras import Extra


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
        onnx2tf.convert(graph())
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
    own, known = resolve_model(model_file=path), resolve_model("digits-cnn")
    before = [conversion.identity(spec, 1) for spec in (own, known)]
    folder = extras.environment(extras.EXTRAS["onnx2tf"])
    folder.mkdir(parents=True)
    assert [conversion.identity(spec, 1) for spec in (own, known)] == before
    (folder / extras.INSTALLED).touch()
    after = [conversion.identity(spec, 1) for spec in (own, known)]
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_every_extra_has_pins_with_hashes_that_the_lock_renews() -> None:
    for extra in extras.EXTRAS.values():
        assert extra.requirements.stem in resolve.REQUIREMENTS
        text = extra.requirements.read_text()
        pins = [line for line in text.splitlines() if "==" in line]
        assert pins
        assert all(line.endswith(" \\") for line in pins)
        assert text.count("--hash=sha256:") >= len(pins)


def test_an_extra_beside_the_rest_keeps_its_versions() -> None:
    names = {name: resolve.pins(name) for name in resolve.REQUIREMENTS}
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
        resolve.relock_requirements(["jax"])
    assert "requirements-pytorch" in caught.value.resolution


WHEEL = {
    "tiny.py": "",
    "tiny-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1\n",
    "tiny-1.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "tiny-1.dist-info/RECORD": "",
}


@pytest.fixture
def served(tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two extras: the wheel of `tiny` is in the folder that this gives, `absent` is nowhere."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel = wheels / "tiny-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as made:
        for name, text in WHEEL.items():
            made.writestr(name, text)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    known = {}
    for name in ("absent", "tiny"):
        (tmp_path / f"requirements-{name}.txt").write_text(f"{name}==1 --hash=sha256:{digest}\n")
        known[name] = Extra(name=name, what="is small", module=name, apart=True)
    monkeypatch.setattr(extras, "EXTRAS", known)
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", mirror.address)
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    return wheels


def test_an_extra_is_installed_from_the_vendor_folder_and_no_index_is_asked(
    served: Path, tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "vendor"
    with pytest.raises(LockError, match="all is kept but the files of: absent"):
        extras.keep(kept, lambda _: None)
    shutil.rmtree(served)
    mirror.asked.clear()
    monkeypatch.setenv("EDGEWRIGHT_VENDOR", str(kept))
    extras.install("tiny", lambda _: None)
    process.run([str(extras.python("tiny")), "-c", "import tiny"])
    with pytest.raises(ModelError, match="can't install the extra absent") as caught:
        extras.install("absent", lambda _: None)
    assert "invoke lock --keep --vendor" in caught.value.resolution
    assert mirror.asked == []


def test_what_an_extra_no_more_pins_leaves_the_vendor_folder(served: Path, tmp_path: Path) -> None:
    old = tmp_path / "vendor" / "python-tiny" / "old-1-py3-none-any.whl"
    old.parent.mkdir(parents=True)
    old.touch()
    with pytest.raises(LockError, match="absent"):
        extras.keep(tmp_path / "vendor", lambda _: None)
    assert [path.name for path in old.parent.iterdir()] == ["tiny-1-py3-none-any.whl"]


def test_onnx2tf_is_given_names_that_it_finds_again() -> None:
    def value(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 4))

    body = helper.make_graph([helper.make_node("Neg", ["onnx::x"], ["b"])], "b", [], [value("b")])
    nodes = [
        helper.make_node("If", ["flag"], ["chosen"], then_branch=body, else_branch=body),
        helper.make_node("Add", ["onnx::x", "chosen"], ["39"]),
    ]
    flag = helper.make_tensor_value_info("flag", TensorProto.BOOL, ())
    made = helper.make_graph(nodes, "net", [value("onnx::x"), flag], [value("39")])
    named = onnx2tf.plainly_named(helper.make_model(made))
    onnx.checker.check_model(named)
    assert [one.name for one in named.graph.input] == ["input_number_0", "flag"]
    assert [one.name for one in named.graph.output] == ["output_number_2"]
    assert named.graph.node[0].attribute[0].g.node[0].input == ["input_number_0"]
    assert onnx2tf.plainly_named(plain := graph()) is plain
