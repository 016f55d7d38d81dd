"""ncnn's recipe: no kernel left out, nothing of the build's day, all of our package staged."""

from __future__ import annotations

import ast

import pytest

from tests.support.fake_executor import FakeExecutor
from toolchain import runtimes, targets
from toolchain.wheels.recipe import RECIPES, Job
from toolchain.wheels.recipes import ncnn

PACKAGE = RECIPES / "ncnn_files" / "ncnn"


@pytest.fixture(scope="module")
def calls() -> list[list[str]]:
    """The commands of a build."""
    executor = FakeExecutor()
    ncnn.build(executor, Job(target=targets.target("rv64gc"), headers="", jobs=2, epoch=0))
    return executor.calls


def test_kernels_are_chosen_on_the_device_and_one_that_is_missing_ends_the_build(
    calls: list[list[str]],
) -> None:
    (configure,) = [call for call in calls if call[0] == "cmake"]
    assert "-DNCNN_RUNTIME_CPU=ON" in configure
    (link,) = [one for one in configure if one.startswith("-DCMAKE_SHARED_LINKER_FLAGS=")][1:]
    assert "-Wl,-z,defs" in link
    assert "-Wl,--build-id=none" in link


def test_the_version_is_the_releases_and_not_the_day_of_the_build(calls: list[list[str]]) -> None:
    (configure,) = [call for call in calls if call[0] == "cmake"]
    assert "-DNCNN_VERSION=20261020" in configure
    assert ncnn.RECIPE.version == "1.0.20261020"


def test_the_whole_package_and_a_stripped_library_are_staged(calls: list[list[str]]) -> None:
    installs = [call for call in calls if call[0] == "install"]
    staged = {path.rpartition("/")[2] for path in installs[0][3:-1]}
    assert staged == {path.name for path in PACKAGE.glob("*.py")}
    assert installs[0][-1] == "/edgewright/stage/ncnn"
    (strip,) = [call for call in calls if call[0].endswith("-strip")]
    assert strip[-1] == installs[1][-2]
    assert installs[1][-1] == "/edgewright/stage/ncnn/libncnn.so"


def test_the_package_needs_numpy_and_nothing_else() -> None:
    found = {
        (node.module or "").partition(".")[0]
        if isinstance(node, ast.ImportFrom)
        else node.names[0].name.partition(".")[0]
        for path in PACKAGE.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    standard = {"__future__", "collections", "ctypes", "io", "math", "os", "pathlib"}
    assert found - standard - {"typing", "weakref"} == {"ncnn", "numpy"}


def test_it_is_for_the_machines_that_it_was_tried_on_and_built_when_it_is_named() -> None:
    target = targets.target("rv64gc")
    assert target.machine in ncnn.MACHINES
    assert "ncnn" not in runtimes.wheels_built(target)
