"""What `verify` compares, and which statements it takes."""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path
from typing import Any

import pytest

from toolchain import runtimes, targets, verify
from toolchain.cluster.place_of_work import PlaceOfWork
from toolchain.core import process, provenance
from toolchain.core.errors import BuildError, UsageError
from toolchain.core.provenance import Claim
from toolchain.core.store import Store
from toolchain.images import build as images
from toolchain.images import specification
from toolchain.wheels import build, variations
from toolchain.wheels.variations import Conditions

TARGET = targets.target("rv64gc")


def wheel(path: Path, **members: str) -> Path:
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return path


def statement(folder: Path, **changes: Any) -> Path:
    claim = Claim(
        kind="wheel",
        subject="a.whl",
        sha256="0" * 64,
        parameters={"target": TARGET.name, "only": "tvm_runtime"},
        inputs=build.inputs("tvm_runtime", TARGET),
    )
    path = folder / "a.whl.provenance.json"
    path.write_text(provenance.statement(dataclasses.replace(claim, **changes), []))
    return path


def test_the_other_conditions_differ_in_all_that_this_machine_can_change() -> None:
    usual, (others, lacking) = Conditions(), variations.other()
    same = {
        f.name
        for f in dataclasses.fields(Conditions)
        if getattr(usual, f.name) == getattr(others, f.name)
    }
    same.remove("image")  # another one has another compiler
    told = {"clock": "clock", "directory order": "shuffled", "user": "user"}
    assert same == {field for words, field in told.items() if any(words in x for x in lacking)}


def test_two_wheels_that_are_alike_are_the_same(tmp_path: Path) -> None:
    one = wheel(tmp_path / "1" / "a.whl", x="1")
    two = wheel(tmp_path / "2" / "a.whl", x="1")
    assert verify._compare(one, two).same


def test_what_differs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    one = wheel(tmp_path / "1" / "a.whl", x="1", same="1")
    two = wheel(tmp_path / "2" / "a.whl", x="2", same="1")
    found = verify._compare(one, two)
    assert not found.same
    assert found.account.splitlines()[0] == "x"
    assert "same" not in found.account.splitlines()


def test_the_kinds_asked_for_are_built_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    here = PlaceOfWork(store=store)
    kinds = {"images": True, "wheels": True, "models": True}
    titles = [title for title, _ in verify.steps(TARGET, store, kinds, [], here)]
    assert len(titles) == len(runtimes.wheels_built(TARGET)) + 2
    kinds = {"images": False, "wheels": True, "models": False}
    (only,) = verify.steps(TARGET, store, kinds, ["tvm_ffi"], here)
    assert only[0] == "wheel tvm_ffi for rv64gc"
    with pytest.raises(UsageError, match="unknown wheel"):
        verify.steps(TARGET, store, kinds, ["numpy"], here)


def test_a_statement_of_this_checkout_is_taken(tmp_path: Path) -> None:
    title, _ = verify.from_provenance(statement(tmp_path), Store(tmp_path / "store"))
    assert title == "wheel a.whl"


def test_a_statement_of_other_inputs_names_what_differs(tmp_path: Path) -> None:
    changed = build.inputs("tvm_runtime", TARGET) | {"epoch": 1}
    with pytest.raises(BuildError, match="other inputs") as caught:
        verify.from_provenance(statement(tmp_path, inputs=changed), Store(tmp_path / "store"))
    assert caught.value.detail == "they differ in: epoch"


def test_a_statement_that_lacks_an_option_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no provenance statement") as caught:
        verify.from_provenance(statement(tmp_path, parameters={}), Store(tmp_path / "store"))
    assert "target" in caught.value.detail


def test_an_image_is_known_by_its_name(tmp_path: Path) -> None:
    spec = specification.spec("device", TARGET)
    changes = {"kind": "image", "subject": spec.name, "inputs": images.inputs(spec)}
    path = statement(tmp_path, parameters={"image": spec.name}, **changes)
    title, _ = verify.from_provenance(path, Store(tmp_path / "store"))
    assert title == f"image {spec.name}"
    path = statement(tmp_path, parameters={"image": "device-none"}, **changes)
    with pytest.raises(BuildError, match="no image device-none"):
        verify.from_provenance(path, Store(tmp_path / "store"))


def test_a_second_build_takes_nothing_from_a_team(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environments: list[dict[str, str]] = []

    def run(*_: Any, env: dict[str, str], **__: Any) -> str:
        environments.append(env)
        return "\n[]"

    monkeypatch.setattr(process, "run", run)
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "own"))
    verify._task(["build-images"], tmp_path / "own", None, print)
    verify._task(["build-images"], tmp_path / "cold", None, print)
    first, second = environments
    assert "EDGEWRIGHT_SHARED_CACHE" not in first
    assert (second["EDGEWRIGHT_SHARED_CACHE"], second["EDGEWRIGHT_SHARE"]) == ("", "")
