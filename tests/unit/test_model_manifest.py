"""model.json: written last, read strictly, extended a library at a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import deployed
from tests.support.manifests import SHA, a_check, a_library, a_manifest
from toolchain import targets
from toolchain.bundle import compiled_models
from toolchain.core.errors import ModelError
from toolchain.formats.signature import Tensor
from toolchain.models import manifest, place
from toolchain.models.manifest import ModelManifest, Tflite


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    a_manifest().save(tmp_path)
    assert ModelManifest.load(tmp_path) == a_manifest()
    assert json.loads((tmp_path / manifest.FILE).read_text())["schema"] == 2
    assert [p.name for p in tmp_path.iterdir()] == [manifest.FILE]


def test_a_folder_without_a_card_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        ModelManifest.load(tmp_path)
    assert "invoke convert" in caught.value.resolution


def test_a_damaged_card_is_refused(tmp_path: Path) -> None:
    (tmp_path / manifest.FILE).write_text('{"schema": 1, "model": ')
    with pytest.raises(ModelError, match="can't be used"):
        ModelManifest.load(tmp_path)


def test_a_library_takes_the_place_of_its_predecessor_only() -> None:
    made = a_manifest().with_library("rv64gc", a_library(3), a_check(3))
    made = made.with_library("rv64gc", a_library(0), a_check(0))
    made = made.with_library("rv64gc", a_library(3, size=2), a_check(3))
    assert list(made.libraries["rv64gc"]) == ["O0", "O3"]
    assert made.libraries["rv64gc"]["O3"].size == 2
    assert [(c.stage, c.opt_level) for c in made.checks] == [
        ("onnx", None),
        ("tvm-x86", 0),
        ("tvm-x86", 3),
    ]


def test_a_manifest_of_schema_1_is_read_as_one_of_now() -> None:
    made = ModelManifest.model_validate(deployed.manifest("net"))
    assert [t.name for t in made.inputs] == [t.name for t in made.outputs] == ["x"]
    assert made.inputs[0].shape == (1, 8, 8, 1)
    assert json.loads(made.dump())["schema"] == 2


def test_another_order_stands_with_its_file_and_no_order_is_written_otherwise() -> None:
    tensors = [Tensor(name=name, shape=(1,)) for name in ("a", "b")]
    assert manifest.in_order(tensors, None) == tensors
    assert [t.name for t in manifest.in_order(tensors, ["b", "a"])] == ["b", "a"]
    file = Tflite(file="fp32.tflite", sha256=SHA, size=1)
    assert "inputs" not in file.model_dump()
    assert file.model_copy(update={"inputs": ["b", "a"]}).model_dump()["inputs"] == ["b", "a"]


def test_why_no_library_could_be_made_is_gone_once_there_is_one() -> None:
    refused = a_manifest().with_missing("tvm", "TVM can't import operator LSTM")
    assert refused.plain() == a_manifest()
    assert refused.with_library("rv64gc", a_library(3), a_check(3)).missing == {}


def test_why_there_is_no_graph_stays_where_a_library_is_made_of_another_form() -> None:
    without = a_manifest().model_copy(update={"onnx": None}).with_missing("onnx", "no operator")
    made = without.with_missing("tvm", "no operator either")
    assert made.plain() == without
    compiled = made.with_library("rv64gc", a_library(3), a_check(3))
    assert compiled.missing == {"onnx": "no operator"}
    assert compiled.plain() == without


OUTSIDE = ["../x", "/etc/passwd", "a/../../x", "..", ".", "", "a//b", "./a", "a/.", "a\nb", "a\0b"]


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("part", ["samples", "onnx", "references", "tflite"])
def test_a_file_that_lies_elsewhere_is_refused(tmp_path: Path, part: str, path: str) -> None:
    """What reads a model writes the manifest, and the model may have made it its own."""
    said = json.loads(a_manifest().dump())
    file = {"file": path, "sha256": SHA, "size": 1}
    said[part] = {**said["samples"], **file} if part == "samples" else file
    if part in ("references", "tflite"):
        said[part] = {"fp32": file}
    (tmp_path / manifest.FILE).write_text(json.dumps(said))
    with pytest.raises(ModelError, match="can't be used"):
        ModelManifest.load(tmp_path)


@pytest.mark.parametrize("name", ["../x", "/x", "", ".", "a/b", "a b", "-o", "a\n", "x" * 300])
def test_a_name_that_is_a_path_is_refused(tmp_path: Path, name: str) -> None:
    file = {"file": "a", "sha256": SHA, "size": 1}
    for change in ({"model": name}, {"references": {name: file}}, {"tflite": {name: file}}):
        said = {**json.loads(a_manifest().dump()), **change}
        (tmp_path / manifest.FILE).write_text(json.dumps(said))
        with pytest.raises(ModelError, match="can't be used"):
            ModelManifest.load(tmp_path)


def test_a_manifest_that_says_it_is_another_models_is_not_bundled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWRIGHT_DIST", str(tmp_path))
    own = a_manifest()
    own.model_copy(update={"model": "another"}).save(place.folder_of(own.model, own.batch))
    with pytest.raises(ModelError, match="of another"):
        compiled_models.chosen(targets.target("rv64gc"), [])
