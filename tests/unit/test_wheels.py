"""Wheels: the same bytes each time, an honest tag, patches that fit."""

from __future__ import annotations

import dataclasses
import os
import zipfile
from pathlib import Path

import pytest
from numpy.random import _philox

from tests.support.fake_executor import FakeExecutor
from toolchain import targets
from toolchain.core.errors import BuildError, UsageError
from toolchain.wheels import audit, build, build_steps, elf, metadata, pack, recipe
from toolchain.wheels.audit import Audit
from toolchain.wheels.recipe import Licence, Recipe
from toolchain.wheels.sources import patch_series

RV64GC = targets.target("rv64gc")
RECIPE = Recipe(
    name="a-thing",
    version="1.0",
    summary="A thing",
    sources=("thing",),
    requires=("numpy",),
    licences=(Licence(source="thing", path="doc/LICENSE", spdx="MIT"),),
    extension=True,
)


def staged(folder: Path, order: list[str]) -> Path:
    (folder / "a_thing-1.0.dist-info").mkdir(parents=True)
    (folder / "a_thing-1.0.dist-info" / "METADATA").write_text("Name: a-thing\n")
    (folder / "thing").mkdir()
    for name in order:
        (folder / "thing" / name).write_text(name)
    return folder


def test_a_wheel_has_the_same_bytes_whatever_the_order_times_and_modes(tmp_path: Path) -> None:
    one = staged(tmp_path / "1", ["a.py", "b.py"])
    two = staged(tmp_path / "2", ["b.py", "a.py"])
    for path in two.rglob("*.py"):
        os.utime(path, (1, 1))
        path.chmod(0o600)
    for stage in (one, two):
        pack.pack(stage, stage.with_suffix(".whl"), 1_700_000_000)
    assert one.with_suffix(".whl").read_bytes() == two.with_suffix(".whl").read_bytes()


def test_record_lists_every_file_and_metadata_comes_last(tmp_path: Path) -> None:
    pack.pack(staged(tmp_path / "s", ["a.py"]), tmp_path / "w.whl", 1_700_000_000)
    with zipfile.ZipFile(tmp_path / "w.whl") as wheel:
        names = wheel.namelist()
        record = wheel.read("a_thing-1.0.dist-info/RECORD").decode().splitlines()
    assert [line.split(",")[0] for line in record] == names
    assert names[0] == "thing/a.py"
    assert names[-1].endswith("RECORD")


def test_metadata_names_python_requirements_and_licences(tmp_path: Path) -> None:
    (tmp_path / "src/thing/doc").mkdir(parents=True)
    (tmp_path / "src/thing/doc/LICENSE").write_text("MIT")
    (tmp_path / "stage").mkdir()
    name = metadata.write(
        tmp_path / "stage", RECIPE, "manylinux_2_35_riscv64", tmp_path / "src", "{}"
    )
    assert name == "a_thing-1.0-cp311-abi3-manylinux_2_35_riscv64.whl"
    info = tmp_path / "stage/a_thing-1.0.dist-info"
    text = (info / "METADATA").read_text()
    assert "Requires-Python: >=3.11" in text
    assert "Requires-Dist: numpy" in text
    assert (info / "licenses/thing/LICENSE").read_text() == "MIT"
    assert "License-File: thing/LICENSE" in text
    assert (info / "sboms/a_thing.cdx.json").read_text() == "{}"


def test_licences_of_one_name_in_one_source_are_both_shipped(tmp_path: Path) -> None:
    licences = [
        Licence(source="thing", path=f"{of}/LICENSE", spdx="MIT", of=of) for of in ("a", "b")
    ]
    for one in licences:
        (tmp_path / "src/thing" / one.of).mkdir(parents=True)
        (tmp_path / "src/thing" / one.path).write_text(one.of)
    made = dataclasses.replace(RECIPE, licences=(*licences,), carried={"a": "", "b": ""})
    metadata.write(tmp_path / "stage", made, "any", tmp_path / "src", "{}")
    (info,) = (tmp_path / "stage").iterdir()
    assert (info / "licenses/thing/a/LICENSE").read_text() == "a"
    assert (info / "licenses/thing/b/LICENSE").read_text() == "b"
    text = (info / "METADATA").read_text()
    assert "License-File: thing/a/LICENSE\nLicense-File: thing/b/LICENSE" in text


def test_a_licence_that_is_not_in_its_source_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "stage").mkdir()
    with pytest.raises(BuildError, match="no licence"):
        metadata.write(tmp_path / "stage", RECIPE, "any", tmp_path / "src", "{}")


@pytest.mark.parametrize(
    ("versions", "tag"),
    [
        ({"GLIBC": "2.27", "GLIBCXX": "3.4.21"}, "manylinux_2_31_riscv64"),
        ({"GLIBC": "2.34"}, "manylinux_2_34_riscv64"),
        ({"GLIBC": "2.38"}, "manylinux_2_38_riscv64"),
    ],
)
def test_the_tag_is_the_lowest_that_the_symbols_allow(versions: dict[str, str], tag: str) -> None:
    lenient = RV64GC.model_copy(update={"glibc": "2.41"})
    assert audit.platform_tag(Audit(versions=versions, objects=("x.so",)), lenient) == tag


def test_a_wheel_above_the_promised_glibc_is_refused() -> None:
    wheel = Path("a-1-cp311-abi3-manylinux_2_36_riscv64.whl")
    audit.refuse_above(wheel, {}, RV64GC)
    audit.refuse_above(Path("a-1-py3-none-any.whl"), {}, RV64GC)
    with pytest.raises(BuildError, match=r"more than glibc 2\.35"):
        audit.refuse_above(wheel, {"GLIBC": "2.36"}, RV64GC.promising("2.35"))


@pytest.mark.parametrize("glibc", ["2.34", "2.17", "3.0", "new", ""])
def test_a_glibc_that_no_wheel_can_promise_is_refused(glibc: str) -> None:
    with pytest.raises(UsageError, match="glibc"):
        RV64GC.promising(glibc)


@pytest.mark.parametrize("python", ["3.10", "2.7", "3", "new"])
def test_a_python_that_no_wheel_serves_is_refused(python: str) -> None:
    with pytest.raises(UsageError, match="no wheels for Python"):
        recipe.refuse_python(python)
    recipe.refuse_python("3.14")


def test_a_wheel_without_shared_objects_is_for_any_machine() -> None:
    assert audit.platform_tag(Audit(), RV64GC) == "any"


def test_an_object_for_another_machine_is_refused(tmp_path: Path) -> None:
    (tmp_path / "python.so").write_bytes(Path("/proc/self/exe").read_bytes())
    with pytest.raises(BuildError) as caught:
        audit.stage(tmp_path, RV64GC)
    assert "EM_X86_64, not EM_RISCV" in caught.value.detail


def test_a_symbol_that_nothing_has_is_found() -> None:
    python = elf.read(Path("/proc/self/exe"))
    lacking = dataclasses.replace(
        python,
        unversioned=frozenset({"ruy_kernel", "PyLong_AsLong", "in_a_sibling", "_Py_Dealloc"}),
    )
    assert audit.unfound(lacking, {"in_a_sibling"}) == ["ruy_kernel"]


def test_threads_are_pythons_even_where_a_library_names_no_version_of_them() -> None:
    python = elf.read(Path("/proc/self/exe"))
    asking = frozenset({"pthread_create", "pthread_join", "pthread_made_up"})
    found = dataclasses.replace(python, unversioned=asking)
    assert audit.unfound(found, ()) == ["pthread_made_up"]


def test_symbols_of_the_system_have_a_version_and_those_of_cpython_none() -> None:
    found = elf.read(Path(_philox.__file__))
    assert "PyInit__philox" in found.exports
    assert "memset" in found.imports - found.unversioned
    assert "PyLong_FromLong" in found.unversioned
    assert audit.unfound(found, ()) == []


def test_a_file_that_only_begins_as_elf_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.so").write_bytes(elf.MAGIC + b"garbage")
    with pytest.raises(BuildError, match="not an ELF file"):
        elf.read(tmp_path / "x.so")


def test_versions_compare_as_numbers() -> None:
    assert elf.highest({"GLIBC": "2.9"}, {"GLIBC": "2.34"}) == {"GLIBC": "2.34"}


def test_every_patch_folder_has_a_complete_series_with_reasons() -> None:
    folders = [p for p in patch_series.FOLDER.iterdir() if p.is_dir()]
    assert folders
    for folder in folders:
        for name in patch_series.series(folder.name):
            head = (folder / name).read_text().split("\n--- ")[0]
            assert len(head.split()) > 8, f"{name} does not say why"


def test_a_patch_that_does_not_apply_names_file_and_hunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patch_series, "FOLDER", tmp_path)
    (tmp_path / "x-1").mkdir()
    (tmp_path / "x-1" / "0001-a.patch").write_text("why\n")
    (tmp_path / "x-1" / "series").write_text("0001-a.patch\n")
    executor = FakeExecutor({"patch": "Hunk #2 FAILED at 12."})
    with pytest.raises(BuildError, match=r"x-1/0001-a\.patch does not apply") as caught:
        patch_series.apply(executor, "x-1", "/src/x", "/patches", lambda _: None)
    assert "Hunk #2" in caught.value.detail


def test_a_series_that_leaves_a_patch_out_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patch_series, "FOLDER", tmp_path)
    (tmp_path / "x-1").mkdir()
    (tmp_path / "x-1" / "0001-a.patch").touch()
    (tmp_path / "x-1" / "series").touch()
    with pytest.raises(BuildError, match="disagree") as caught:
        patch_series.series("x-1")
    assert "0001-a.patch" in caught.value.detail


def test_an_unknown_wheel_is_named_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="unknown wheel: numpy") as caught:
        build.recipe("numpy")
    assert "tflite_runtime" in caught.value.resolution


def test_progress_is_the_step_and_not_what_the_compiler_remarks() -> None:
    heard: list[str] = []
    say = build_steps.without_remarks(heard.append)
    for line in (
        "[7/666] Building CXX object a.cc.o",
        "In file included from a.cc:1:",
        "<built-in>: note: previous declaration of 'void f(void*)'",
        "a.cc:3:1: warning: unused",
        "    3 | int x;",
        "[8/666] Building CXX object b.cc.o",
    ):
        say(line)
    assert heard == ["[7/666] Building CXX object a.cc.o", "[8/666] Building CXX object b.cc.o"]


def test_a_target_is_data_and_an_unknown_one_is_named() -> None:
    with pytest.raises(UsageError, match="unknown target: z80") as caught:
        targets.target("z80")
    assert "rv64gc" in caught.value.resolution


@pytest.mark.parametrize(
    ("imports", "refused"),
    [
        ({"PyObject_Call", "Py_BuildValue", "PyExc_ValueError", "memcpy"}, []),
        ({"PyObject_Vectorcall"}, ["PyObject_Vectorcall"]),  # since 3.12
        ({"PyUnicode_AsUTF8", "_PyLong_AsByteArray"}, ["PyUnicode_AsUTF8", "_PyLong_AsByteArray"]),
    ],
)
def test_what_the_stable_abi_lacks_is_found(imports: set[str], refused: list[str]) -> None:
    assert audit.unstable(imports) == refused
