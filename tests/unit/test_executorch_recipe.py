"""ExecuTorch's recipe: the project's libraries as they are, ours over them, and no PyTorch."""

from __future__ import annotations

import ast

import pytest

from tests.support.fake_executor import FakeExecutor
from toolchain import runtimes, targets
from toolchain.core.errors import UsageError
from toolchain.runtimes import Wheels
from toolchain.wheels.recipe import RECIPES, Job
from toolchain.wheels.recipes import executorch

PACKAGE = RECIPES / "executorch_files" / "executorch"
TARGET = targets.target("aarch64")


@pytest.fixture(scope="module")
def calls() -> list[list[str]]:
    """The commands of a build."""
    executor = FakeExecutor()
    executorch.build(executor, Job(target=TARGET, headers="", jobs=2, epoch=0))
    return executor.calls


def test_all_libraries_that_register_kernels_are_linked_though_nothing_of_them_is_called(
    calls: list[list[str]],
) -> None:
    (link,) = [call for call in calls if "-shared" in call]
    at = link.index("-Wl,--no-as-needed")
    assert {f"-l{name}" for name in executorch.LIBRARIES} <= set(link[at:])
    assert "-Wl,-z,defs" in link
    assert "-Wl,-rpath,$ORIGIN" in link


def test_the_whole_package_is_staged_and_every_library_stripped(calls: list[list[str]]) -> None:
    staged = {
        path.rpartition("/")[2]
        for call in calls
        if call[0] == "install" and call[-1] == "/edgewright/stage/executorch"
        for path in call[3:-1]
    }
    assert staged == {path.name for path in PACKAGE.glob("*.py")}
    (strip,) = [call for call in calls if call[0].endswith("-strip")]
    assert len(strip[2:]) == len(executorch.LIBRARIES) + 1


def test_the_package_needs_numpy_and_nothing_else() -> None:
    found = {
        (node.module or "").partition(".")[0]
        if isinstance(node, ast.ImportFrom)
        else node.names[0].name.partition(".")[0]
        for path in PACKAGE.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    standard = {"__future__", "collections", "ctypes", "pathlib", "typing"}
    assert found - standard == {"executorch", "numpy"}
    assert executorch.RECIPE.requires == ("numpy>=1.23.2",)


def test_it_is_for_the_machines_that_its_project_serves_and_built_when_it_is_named() -> None:
    runtime = runtimes.runtime("executorch")
    assert runtime.unsupported(TARGET) == ""
    assert runtime.wheels(TARGET, []) == Wheels(built=("executorch",))
    assert "executorch" not in runtimes.wheels_built(TARGET)
    refusal = runtime.unsupported(targets.target("rv64gc"))
    assert "executorch has no wheel for rv64gc" in refusal
    assert "x86_64" in refusal
    with pytest.raises(UsageError):
        runtimes.runtime("executorch2")
