"""ONNX Runtime's recipe: nothing looked up, all of our package staged, no file compiled twice."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.fake_executor import FakeExecutor
from toolchain import targets
from toolchain.wheels.recipe import RECIPES, Job
from toolchain.wheels.recipes import onnxruntime
from toolchain.wheels.sources import patch_series

GROUPS = patch_series.FOLDER / "onnxruntime-1.21.0" / "0003-compile-in-groups.patch"
LIST = "compile_groups.txt"


@pytest.fixture(scope="module")
def calls() -> list[list[str]]:
    """The commands of a build."""
    executor = FakeExecutor()
    job = Job(target=targets.target("rv64gc"), headers="", jobs=2, epoch=0)
    onnxruntime.build(executor, job)
    return executor.calls


def test_every_dependency_is_a_pinned_source_given_by_folder(calls: list[list[str]]) -> None:
    (configure,) = [call for call in calls if call[0] == "cmake"]
    assert "-DFETCHCONTENT_FULLY_DISCONNECTED=ON" in configure
    assert "-DFETCHCONTENT_TRY_FIND_PACKAGE_MODE=NEVER" in configure
    given = [item.split("=")[1] for item in configure if "_SOURCE_DIR" in item]
    folders = {folder.removeprefix("/edgewright/src/").split("/")[0] for folder in given}
    assert folders | {"onnxruntime"} == set(onnxruntime.RECIPE.sources)


def test_the_whole_package_and_a_stripped_library_are_staged(calls: list[list[str]]) -> None:
    files = {p.name for p in (RECIPES / "onnxruntime_files" / "onnxruntime").glob("*.py")}
    installs = [call for call in calls if call[0] == "install"]
    assert {path.rpartition("/")[2] for path in installs[0][3:-1]} == files
    assert installs[0][-1] == "/edgewright/stage/onnxruntime"
    strips = [call for call in calls if call[0].endswith("-strip")]
    assert [call[-1] for call in strips] == [installs[1][-2]]
    assert installs[1][-1] == "/edgewright/stage/onnxruntime/libonnxruntime.so"


def test_no_file_is_in_two_groups() -> None:
    text = GROUPS.read_text().partition(f"+++ b/cmake/{LIST}\n")[2].partition("\n--- ")[0]
    groups = [line[1:].split() for line in text.splitlines() if line.startswith("+")]
    assert min(map(len, groups)) > 1
    files = Counter(file for group in groups for file in group)
    assert [file for file, count in files.items() if count > 1] == []
    assert all(file.endswith(".cc") for file in files)
