"""A network on the device that goes with the release that is current."""

from __future__ import annotations

import logging
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import edgewright_device
import numpy as np
import pytest
from edgewright_device import EdgewrightError, FollowedNetwork, NotDeployedError
from edgewright_runner import backends

from tests.support.device_releases import Arrays, NumpyBackend, release, tensor
from toolchain.core import paths, process

ONES = np.ones(3, np.float32)


class Device:
    """A folder with releases, whose networks multiply by the first digit of their release."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.link = folder / "current"

    def put(self, number: str, **said: Any) -> None:
        """A release, and the link leads to it."""
        inputs, outputs = said.pop("inputs", [tensor("x", 1, 3)]), [tensor("y", 1, 3)]
        outputs = said.pop("outputs", outputs)
        release(self.folder / number, inputs, outputs, number=number, **said)
        self.switch(number)

    def switch(self, number: str) -> None:
        """The link leads there."""
        fresh = self.folder / "fresh"
        fresh.symlink_to(number)
        fresh.replace(self.link)

    def load(self, **how: Any) -> FollowedNetwork:
        return edgewright_device.load("net", release=self.link, follow=True, **how)


class Multiplying(NumpyBackend):
    """A network whose factor is the number of the release that its file is of."""

    def __init__(self) -> None:
        super().__init__(self._multiplied)

    def _multiplied(self, given: Arrays) -> Arrays:
        state = {"hn": given["h"] + 1} if "h" in given else {}
        return {"y": given["x"] * int(Path(self.loaded).parents[3].name), **state}


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    monkeypatch.setattr(backends, "open_runtime", lambda *_: Multiplying())
    return Device(tmp_path)


def answer(net: FollowedNetwork) -> float:
    return float(net(x=ONES)["y"][0, 0])


def test_a_network_changes_between_two_calls_and_back(device: Device) -> None:
    device.put("1", labels=["a", "b", "c"])
    net = device.load()
    assert (answer(net), net.release, net.labels) == (1, "1" * 64, ("a", "b", "c"))
    device.put("2", labels=["d", "e", "f"], forms=(("tvm", "fp32", 3),))
    assert net.labels == ("a", "b", "c"), "they are those of the last call"
    assert net.classify(np.asarray([[0, 0, 1]], np.float32), top=1) == [("f", 2.0)]
    assert (net.runtime, net.opt_level, net.labels[0]) == ("tvm", 3, "d")
    device.switch("1")
    assert (answer(net), net.runtime, net.refused) == (1, "tflite", "")


def test_a_network_without_following_stays(device: Device) -> None:
    device.put("1")
    net = edgewright_device.load("net", release=device.link)
    device.put("2")
    assert net(x=ONES)["y"][0, 0] == 1


def test_state_begins_anew_with_another_network(device: Device) -> None:
    state = {
        "inputs": [tensor("x", 1, 3), tensor("h", 1, 1)],
        "outputs": [tensor("y", 1, 3), tensor("hn", 1, 1)],
        "state": {"feeds": [{"input": "h", "output": "hn"}], "steps": 8},
    }
    device.put("1", **state)
    net = device.load()
    assert [net(x=ONES)["hn"][0, 0] for _ in range(2)] == [1, 2]
    device.put("2", **state)
    assert [net(x=ONES)["hn"][0, 0] for _ in range(2)] == [1, 2]
    device.put("3", inputs=state["inputs"], outputs=state["outputs"])
    assert answer(net) == 2
    assert "has other state" in net.refused


BAD: dict[str, tuple[Callable[[Device], Any], str]] = {
    "code": (lambda device: device.put("2", code="2"), "other code, code.whl; restart the program"),
    "input": (lambda device: device.put("2", inputs=[tensor("x", 1, 4)]), "has other inputs"),
    "output": (lambda device: device.put("2", outputs=[tensor("z", 1, 3)]), "has other outputs"),
    "form": (
        lambda device: device.put("2", forms=(("tvm", "int8", None),)),
        "net is not in this release as fp32; it is there as tvm int8",
    ),
    "none": (lambda device: device.link.unlink(), "no release is current"),
    "gone": (lambda device: device.switch("3"), "manifest.json can't be read"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_cant_be_followed_is_said_once_and_the_network_goes_on(
    device: Device, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    device.put("1")
    net = device.load(variant="fp32")
    change, said = BAD[kind]
    change(device)
    assert [answer(net), answer(net)] == [1, 1]
    assert said in net.refused
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == f"net goes on with release {'1' * 16}: {net.refused}"
    device.put("4")
    assert (answer(net), net.refused) == (4, "")


@pytest.mark.parametrize(
    "broken",
    [
        "models/net/b1/0.bin",
        "models/net/b1/labels.txt",
        "manifest.json",
        "models/net/b1/model.json",
    ],
)
@pytest.mark.parametrize("content", [b"", b"[]", b'{"models": [{}], "inputs": 3}', None])
def test_a_broken_release_is_not_taken(
    device: Device, caplog: pytest.LogCaptureFixture, broken: str, content: bytes | None
) -> None:
    device.put("1", labels=["a", "b", "c"])
    net = device.load()
    device.put("2", labels=["d", "e", "f"])
    path = device.folder / "2" / broken
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content or b"cut")
    assert answer(net) == 1
    assert net.refused
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "\n" not in net.refused


def test_the_code_that_runs_is_that_of_the_library_and_not_of_the_link(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.put("1", code="1")
    monkeypatch.setattr(edgewright_device, "OWN", device.folder / "1")
    device.put("2", code="2")
    net = device.load()
    assert (answer(net), net.release) == (1, "1" * 64)
    assert "restart the program" in net.refused
    device.put("3", code="1")
    assert (answer(net), net.refused) == (3, "")
    assert answer(device.load()) == 3


def test_a_release_may_be_given_as_text(device: Device) -> None:
    device.put("1")
    assert answer(edgewright_device.load("net", release=str(device.link), follow=True)) == 1
    assert edgewright_device.models(str(device.link)) == ["net"]


LATER = """
import os, sys
import edgewright_device
os.symlink("2", "fresh")
os.replace("fresh", "current")
import later
print(later.RELEASE)
"""


def test_what_is_imported_after_a_switch_is_of_the_release_that_runs(tmp_path: Path) -> None:
    for number in ("1", "2"):
        runner = tmp_path / number / "runner"
        shutil.copytree(paths.ROOT / "deploy" / "runner", runner)
        (runner / "later.py").write_text(f"RELEASE = {number}")
    (tmp_path / "current").symlink_to("1")
    said = process.run(
        [sys.executable, "-c", LATER],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "current" / "runner")},
    )
    assert said.strip() == "1"


def test_the_release_that_a_program_began_with_may_be_removed(device: Device) -> None:
    device.put("1")
    net = device.load()
    device.put("2")
    shutil.rmtree(device.folder / "1")
    assert answer(net) == 2
    device.put("3", code="3")
    shutil.rmtree(device.folder / "2")
    assert answer(net) == 2
    assert "restart the program" in net.refused


def test_an_opened_runtime_opens_again_without_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backends.versions("tflite")
    monkeypatch.setattr(backends, "__path__", [str(tmp_path)])
    assert backends.versions("tflite")
    with pytest.raises(ValueError, match="unknown runtime: other"):
        backends.versions("other")


def test_a_thread_goes_on_while_another_loads(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.put("1")
    net = device.load()
    device.put("2")
    loading, go_on = threading.Event(), threading.Event()

    def slow(*_: object) -> Multiplying:
        loading.set()
        assert go_on.wait(60)
        return Multiplying()

    monkeypatch.setattr(backends, "open_runtime", slow)
    answers: list[float] = []
    other = threading.Thread(target=lambda: answers.append(answer(net)))
    other.start()
    assert loading.wait(60)
    assert answer(net) == 1
    go_on.set()
    other.join(60)
    assert answers == [2]
    assert answer(net) == 2


def test_what_is_no_link_is_not_followed(device: Device) -> None:
    device.put("1")
    with pytest.raises(EdgewrightError, match=r"no link to a release.*edgewright/current"):
        edgewright_device.load("net", release=device.folder / "1", follow=True)
    with pytest.raises(NotDeployedError, match="no model other in this release"):
        edgewright_device.load("other", release=device.link, follow=True)
    net = device.load()
    with pytest.raises(AttributeError, match="_nothing"):
        getattr(net, "_nothing")  # noqa: B009 (a name that isn't there)
    assert not hasattr(net, "nothing")
