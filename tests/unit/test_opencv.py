"""OpenCV: how its wheel is built, which wheel a device gets, and how tensors go in and out."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from edgewright_runner import backends

from tests.support.fake_executor import FakeExecutor
from toolchain import runtimes, targets
from toolchain.lock import pins
from toolchain.runtimes import Wheels
from toolchain.wheels.recipe import PYTHON_SINCE, Job
from toolchain.wheels.recipes import opencv

OPENCV = runtimes.runtime("opencv")


@pytest.fixture(scope="module")
def calls() -> list[list[str]]:
    """The commands of a build."""
    executor = FakeExecutor()
    opencv.build(executor, Job(target=targets.target("rv64gc"), headers="3.13", jobs=2, epoch=0))
    return executor.calls


def test_one_wheel_serves_every_python_and_every_cpu(calls: list[list[str]]) -> None:
    (configure,) = [call for call in calls if "-G" in call]
    (version,) = [one for one in configure if one.startswith("-DPYTHON3_LIMITED_API_VERSION=")]
    since = int(PYTHON_SINCE.partition(".")[2])
    assert int(version.partition("=")[2], 16) <= 0x03000000 + (since << 16)
    assert {"-DCPU_BASELINE=", "-DCPU_DISPATCH=RVV", "-DPNG_RISCV_RVV=off"} <= set(configure)


def test_nothing_is_downloaded_and_nothing_tells_of_the_build(calls: list[list[str]]) -> None:
    (configure,) = [call for call in calls if "-G" in call]
    for name in ("ADE", "FFMPEG", "IPP", "KLEIDICV", "UNIFONT"):
        assert f"-DWITH_{name}=OFF" in configure
    assert "-DBUILD_INFO_SKIP_TIMESTAMP=ON" in configure
    assert "-DBUILD_INFO_SKIP_SYSTEM_VERSION=ON" in configure


def test_what_was_installed_is_staged(calls: list[list[str]]) -> None:
    assert calls[-1] == ["mv", "/edgewright/build/installed/python/cv2", "/edgewright/stage"]
    assert [call for call in calls if "--install" in call and "--strip" in call]
    files = [(one.of, one.path.rpartition("/")[2]) for one in opencv.RECIPE.licences]
    assert len(set(files)) == len(files), "those of one project stand side by side in the wheel"


def test_the_version_built_is_the_one_published() -> None:
    built = pins.source(opencv.OPENCV)
    assert (built.project, built.version) == (opencv.RECIPE.name, opencv.RECIPE.version)
    for name in ("aarch64", "x86_64"):
        (wheel,) = OPENCV.wheels(targets.target(name), []).pinned
        assert pins.source(wheel).version == built.version


def test_riscv_gets_ours_and_a_target_without_any_is_told_who_has_one() -> None:
    rv64gc, armv7l = targets.target("rv64gc"), targets.target("armv7l")
    assert OPENCV.wheels(rv64gc, []) == Wheels(built=("opencv",))
    assert OPENCV.unsupported(rv64gc) == ""
    assert "has no wheel for armv7l" in OPENCV.unsupported(armv7l)


class Net:
    """Subtracts its second input from the first, and tells its outputs in another order."""

    def __init__(self) -> None:
        self.given: dict[str, Any] = {}

    def getUnconnectedOutLayersNames(self) -> tuple[str, ...]:  # noqa: N802
        return ("sum", "difference")

    def setInput(self, array: np.ndarray, name: str) -> None:  # noqa: N802
        assert array.flags.c_contiguous
        self.given[name] = array

    def forward(self, names: list[str]) -> list[np.ndarray]:
        a, b = self.given["a"], self.given["b"]
        return [{"sum": a + b, "difference": a - b}[name] for name in names]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A stand-in for the library, and what it was told."""
    told: dict[str, Any] = {}

    def read(path: str) -> Net:
        told["path"] = path
        return Net()

    module = ModuleType("cv2")
    vars(module).update(
        setNumThreads=lambda number: told.update(threads=number),
        dnn=SimpleNamespace(readNetFromONNX=read),
    )
    monkeypatch.setitem(sys.modules, "cv2", module)
    return told


def test_tensors_go_by_the_graphs_names_on_so_many_threads(told: dict[str, Any]) -> None:
    backend = backends.open_runtime("opencv", 3)
    backend.load("net.onnx")
    assert told == {"threads": 3, "path": "net.onnx"}
    outputs = [{"name": "difference"}, {"name": "sum"}]
    backend.bind({"inputs": [{"name": "b"}, {"name": "a"}], "outputs": outputs})
    a = np.arange(6, dtype=np.float32).reshape(3, 2).T
    backend.set_inputs({"a": a, "b": np.ones_like(a)})
    backend.run()
    assert np.array_equal(backend.outputs()["difference"], a - 1)
    assert np.array_equal(backend.outputs()["sum"], a + 1)


def test_a_network_whose_outputs_have_other_names_is_refused(told: dict[str, Any]) -> None:
    backend = backends.open_runtime("opencv", 1)
    backend.load("net.onnx")
    with pytest.raises(ValueError, match="no output product; it has difference, sum"):
        backend.bind({"inputs": [], "outputs": [{"name": "product"}]})
