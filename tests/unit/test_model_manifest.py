"""model.json: written last, read strictly, extended a library at a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from toolchain.core.errors import ModelError
from toolchain.models import manifest
from toolchain.models.manifest import Check, File, Library, ModelManifest, Samples, Source, Tensor

SHA = "0" * 64


def a_manifest() -> ModelManifest:
    tensor = Tensor(name="input", shape=(1, 8, 8, 1))
    return ModelManifest(
        model="net",
        title="Net",
        batch=1,
        source=Source(kind="keras", weights="seeded:0"),
        input=tensor,
        output=Tensor(name="output", shape=(1, 10)),
        tvm_input=tensor,
        onnx=File(file="model.onnx", sha256=SHA, size=1),
        samples=Samples(file="samples.npz", sha256=SHA, size=1, count=8, labelled=False),
        checks=[Check(stage="onnx", max_abs=0, max_rel=0, top1_agreement=1, count=8)],
    )


def a_library(level: int, size: int = 1, tvm: str = "0.27.0.post1") -> Library:
    return Library(file=f"rv64gc/O{level}.so", sha256=SHA, size=size, opt_level=level, tvm=tvm)


def a_check(level: int) -> Check:
    return Check(stage="tvm-x86", max_abs=0, max_rel=0, top1_agreement=1, count=8, opt_level=level)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    a_manifest().save(tmp_path)
    assert ModelManifest.load(tmp_path) == a_manifest()
    assert json.loads((tmp_path / manifest.FILE).read_text())["schema"] == 1
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
