"""The library for C and C++: its key beside the wheel's, and its folder in dist/."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.manifests import a_check, a_library, a_manifest
from toolchain import targets
from toolchain.bundle import wheels
from toolchain.bundle.wheels import Lowest
from toolchain.core.errors import BuildError
from toolchain.core.store import Store, digest_tree
from toolchain.library import library_folder
from toolchain.runtimes import tvm
from toolchain.wheels import build
from toolchain.wheels.build import Built
from toolchain.wheels.recipe import RECIPES
from toolchain.wheels.recipes import edgewright_library, tflite_runtime
from toolchain.wheels.sources import tvm_tree

RV64GC = targets.target("rv64gc")
NAME = library_folder.RECIPE
FILES = {
    "edgewright_library/lib/libedgewright.so": "code",
    "edgewright_library/include/edgewright.h": "header",
    "edgewright_library-1.0.0.dist-info/METADATA": "of a wheel",
    "edgewright_library-1.0.0.dist-info/licenses/json/LICENSE.MIT": "MIT",
    "edgewright_library-1.0.0.dist-info/sboms/edgewright_library.cdx.json": "{}",
}


def archive(folder: Path, **changed: str) -> Built:
    path = folder / "edgewright_library-1.0.0-py3-none-manylinux_2_36_riscv64.whl"
    with zipfile.ZipFile(path, "w") as opened:
        for name, text in FILES.items():
            opened.writestr(name, changed.get(Path(name).stem, text))
    return Built(
        recipe=NAME, path=path, sha256="0" * 64, size=1, versions={}, seconds=0.0, fresh=False
    )


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("EDGEWRIGHT_DIST", str(tmp_path / "project"))
    return Store(tmp_path / "cache")


def test_the_folder_has_what_a_compiler_and_a_lawyer_want(tmp_path: Path, store: Store) -> None:
    folder = library_folder._laid_out(RV64GC, store, archive(tmp_path)).folder
    assert folder == tmp_path / "project/dist/library/rv64gc"
    assert set(digest_tree(folder)) == {
        "lib/libedgewright.so",
        "include/edgewright.h",
        "licenses/json/LICENSE.MIT",
        "sboms/edgewright_library.cdx.json",
    }
    assert (folder / library_folder.SHARED_OBJECT).stat().st_mode & 0o111


def test_what_is_there_is_left_until_it_is_another(tmp_path: Path, store: Store) -> None:
    folder = library_folder._laid_out(RV64GC, store, archive(tmp_path)).folder
    before = folder.stat().st_ino
    assert library_folder._laid_out(RV64GC, store, archive(tmp_path)).folder.stat().st_ino == before
    library_folder._laid_out(RV64GC, store, archive(tmp_path, edgewright="newer"))
    assert (folder / "include/edgewright.h").read_text() == "newer"
    (folder / "lib/stray").write_text("of the user's")
    library_folder._laid_out(RV64GC, store, archive(tmp_path, edgewright="newer"))
    assert not (folder / "lib/stray").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["rv64gc"]


def test_a_library_that_is_not_built_is_told_with_what_builds_it(store: Store) -> None:
    with pytest.raises(BuildError) as caught:
        library_folder.published(RV64GC, store)
    assert caught.value.resolution == "run: invoke build-library --target rv64gc"


def test_a_change_of_the_library_makes_no_wheel_anew() -> None:
    library, wheel = (
        build._files(name, build.recipe(name)[0]) for name in (NAME, "tflite_runtime")
    )
    own = {name for name in library if name.startswith(f"{NAME}/")}
    assert f"{NAME}/include/edgewright.h" in own
    assert own & wheel.keys() == set()
    assert library.keys() - own == wheel.keys()


def test_it_is_made_of_what_the_wheel_is_made_of_a_reader_of_json_and_tvms_c_interface() -> None:
    library, wheel = edgewright_library.RECIPE, tflite_runtime.RECIPE
    own = {edgewright_library.JSON, tvm_tree.FFI}
    assert set(library.sources) - set(wheel.sources) == own
    same = ("binaries", "patches", "image", "files", "only_for", "portable")
    for name in same:
        assert getattr(library, name) == getattr(wheel, name), name
    assert not library.extension


def test_the_package_files_have_the_recipes_version() -> None:
    version = edgewright_library.RECIPE.version
    folder = RECIPES / "tflite_files" / NAME / "packages"
    assert f"\nVersion: {version}\n" in (folder / "edgewright.pc").read_text()
    said = (folder / "edgewright-config-version.cmake").read_text()
    assert f"set(PACKAGE_VERSION {version})" in said


def test_a_bundle_with_the_library_asks_for_what_any_part_of_it_asks_for(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = replace(archive(tmp_path), versions={"GLIBC": "2.34", "GLIBCXX": "3.4.30"})
    library = library_folder._laid_out(RV64GC, store, built)
    monkeypatch.setattr(library_folder, "published", lambda *_: library)
    into = tmp_path / "library"
    asked = Lowest(glibc="2.36", glibcxx="3.4.9")
    lowest = wheels.copy_library(into, RV64GC, store, [], asked)
    assert lowest == Lowest(glibc="2.36", glibcxx="3.4.30")
    assert digest_tree(into) == digest_tree(library.folder)


def test_what_runs_its_networks_goes_along_also_where_no_wheel_does(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = library_folder._laid_out(RV64GC, store, archive(tmp_path))
    monkeypatch.setattr(library_folder, "published", lambda *_: library)
    with zipfile.ZipFile(tmp_path / "tvm.whl", "w") as opened:
        opened.writestr("tvm/lib/libtvm_runtime.so", "code")
    asked: list[str] = []

    def published(_: object, names: tuple[str, ...]) -> list[Built]:
        asked.extend(names)
        versions = {"GLIBC": "2.35"}
        return [replace(archive(tmp_path), path=tmp_path / "tvm.whl", versions=versions)]

    monkeypatch.setattr(build, "published", published)
    nothing = Lowest(glibc="0", glibcxx="0")
    plain, compiled = tmp_path / "plain", tmp_path / "compiled"
    wheels.copy_library(plain, RV64GC, store, [a_manifest()], nothing)
    assert asked == []
    model = a_manifest().with_library("rv64gc", a_library(3), a_check(3))
    lowest = wheels.copy_library(compiled, RV64GC, store, [model], nothing)
    assert asked == ["tvm_ffi", "tvm_runtime"]
    assert lowest.glibc == "2.35"
    added = set(digest_tree(compiled)) - set(digest_tree(plain))
    assert added == {"tvm/lib/libtvm_runtime.so"}


def test_what_it_opens_comes_out_of_a_wheel_and_can_be_executed(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "tvm.whl", "w") as opened:
        opened.writestr("tvm/lib/libtvm_runtime.so", "code")
        opened.writestr("tvm/__init__.py", "")
    library_folder.add_opened(tmp_path / "library", tmp_path / "tvm.whl", tvm.RUNTIME.opened_by_c)
    assert set(digest_tree(tmp_path / "library")) == {"tvm/lib/libtvm_runtime.so"}
    assert (tmp_path / "library/tvm/lib/libtvm_runtime.so").stat().st_mode & 0o111
