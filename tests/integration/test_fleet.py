"""Several devices at once over a real sshd, and devices that hang."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from deploy.inventory.reading import Device
from deploy.release import fleet, rollout
from deploy.release.fleet import Attempt, Done, HostResult, Limits, Work
from tests.support.bundles import make_bundle, noise
from tests.support.sshd import Sshd, processes_with, wait_until
from toolchain.bundle import assemble

T = TypeVar("T")
pytestmark = pytest.mark.integration

# a busy machine takes some seconds for a venv and pip
STEP = 15.0
MARK = f"987656.{os.getpid()}"


def boards(server: Sshd, count: int) -> list[Device]:
    """Devices that are folders of one machine."""
    return [
        dataclasses.replace(server.device, name=f"board{n}", root=f"{server.root}{n}")
        for n in range(1, count + 1)
    ]


def go(devices: list[Device], work: Work[T], **limits: Any) -> list[HostResult[T]]:
    return fleet.run(
        devices,
        work,
        limits=Limits(**limits),
        show=lambda *_: None,
    )


def test_a_fleet_is_deployed_listed_and_rolled_back(sshd: Sshd, tmp_path: Path) -> None:
    devices = boards(sshd, 4)
    one, two = make_bundle(tmp_path / "1"), make_bundle(tmp_path / "2", version="2.0")
    for folder in (one, two):
        found = go(devices, rollout.deployed({"rv64gc": folder}), parallel=2, canary=1)
        assert [r.status for r in found] == ["done"] * 4, [r.plain() for r in found]
    again = go(devices, rollout.deployed({"rv64gc": two}))
    assert [r.status for r in again] == ["unchanged"] * 4
    assert [r.value and r.value.sent for r in again] == [0] * 4
    back = go(devices, rollout.rolled_back())
    listed = go(devices, rollout.listed)
    for rolled, on_it in zip(back, listed, strict=True):
        assert rolled.value is not None
        assert [r.folder for r in on_it.value or [] if r.running] == [rolled.value.folder]
    older = assemble.load(one).release
    for named, status in ((older[:12], "failed"), (assemble.load(two).release[:12], "done")):
        there = go(devices[:1], rollout.rolled_back(named))
        assert [r.status for r in there] == [status], [r.plain() for r in there]
    (unknown,) = go(devices[:1], rollout.rolled_back("0" * 16))
    assert unknown.error is not None
    assert "has no release" in unknown.error.brief
    assert older[:16] in unknown.error.detail
    assert json.dumps([r.plain() for r in back] + [r.plain() for r in listed])


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of something that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_banner_that_never_comes_costs_only_itself(
    sshd: Sshd, tmp_path: Path, silent: int
) -> None:
    one, two, three = boards(sshd, 3)
    mute = dataclasses.replace(two, port=silent)
    started = time.monotonic()
    found = go(
        [one, mute, three], rollout.deployed({"rv64gc": make_bundle(tmp_path / "b")}), step=STEP
    )
    assert time.monotonic() - started < 60
    assert [r.status for r in found] == ["done", "failed", "done"]
    assert found[1].seconds < STEP + 2


def hung(server: Sshd, attempt: Attempt, how: str) -> Done[object]:
    """Work that begins something on the device and then meets a hung one."""
    with attempt.connect() as conn:
        attempt.say("working")
        # the device itself ends it, some seconds after it was given up here
        limit = STEP + 5
        if how == "sshd stopped":
            threading.Timer(0.5, server.freeze).start()
            conn.run(["sleep", MARK], timeout=limit)
        else:
            stubborn = "trap '' TERM HUP; sleep $0 & wait; sleep $0"
            conn.run(["sh", "-c", stubborn, MARK], timeout=limit)
    return Done(None)


@pytest.mark.parametrize("how", ["sshd stopped", "ignores TERM"])
def test_a_device_that_hangs_is_given_up_in_time_and_keeps_nothing_of_ours(
    sshd: Sshd, tmp_path: Path, how: str
) -> None:
    other = Sshd(tmp_path / "other")
    other.start()
    try:
        devices = [
            dataclasses.replace(sshd.device, name="hung"),
            dataclasses.replace(other.device, name="well"),
        ]
        folder = make_bundle(tmp_path / "b")

        def work(attempt: Attempt) -> Done[object]:
            if attempt.device.name == "hung":
                return hung(sshd, attempt, how)
            return rollout.deployed({"rv64gc": folder})(attempt)

        found = go(devices, work, step=STEP)
        assert [r.status for r in found] == ["failed", "done"], [r.plain() for r in found]
        assert found[0].seconds < STEP + 2.5
        sshd.thaw()
        assert wait_until(lambda: not processes_with(MARK), limit=40)
    finally:
        sshd.thaw()
        other.stop()


def test_a_transfer_that_stalls_is_given_up_in_time(sshd: Sshd, tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "b", extra={"models/m": noise(24_000_000)})
    (device,) = boards(sshd, 1)
    began = 0.0

    def work(attempt: Attempt) -> Done[object]:
        nonlocal began

        def watch(line: str) -> None:
            nonlocal began
            attempt.say(line)
            if line.startswith("sending: 8.") and not began:
                began = time.monotonic()
                sshd.freeze()

        from deploy.release import deployment

        with attempt.connect() as conn:
            return Done(deployment.deploy(conn, folder, say=watch))

    (result,) = go([device], work, step=STEP)
    took = time.monotonic() - began
    sshd.thaw()
    assert began
    assert result.status == "failed"
    assert took < STEP + 2.5
    assert wait_until(lambda: not processes_with(device.root), limit=40)
    (again,) = go([device], rollout.deployed({"rv64gc": folder}))
    assert again.status == "done"
    assert again.value is not None
    assert again.value.sent is not None
    assert again.value.sent < 24_000_000


def test_breaking_off_leaves_nothing_running_there(sshd: Sshd) -> None:
    # a shell's background job begins with the signal ignored
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    (device,) = boards(sshd, 1)

    def work(attempt: Attempt) -> Done[object]:
        with attempt.connect() as conn:
            attempt.say("working")
            conn.run(["sleep", MARK], timeout=10)
        return Done(None)

    timer = threading.Timer(2.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            go([device], work)
    finally:
        signal.signal(signal.SIGINT, before)
    assert wait_until(lambda: not processes_with(MARK), limit=40)
