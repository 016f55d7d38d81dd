"""The lock on a device that deployments and measurements share, over a real sshd."""

from __future__ import annotations

import queue
import threading
from pathlib import Path

import pytest

from deploy.measure import exclusive_use, tuning_devices
from deploy.measure.exclusive_use import exclusive
from deploy.ssh import connection
from tests.support.bundles import make_bundle
from tests.support.sshd import Sshd, deploy
from toolchain.core.errors import DeviceRefused

pytestmark = pytest.mark.integration
# what a search starts on a board, but for TVM
SERVER = """
import json, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
sys.stdin.readline()
print(json.dumps({"port": listener.getsockname()[1], "version": "1.0"}), flush=True)
sys.stdin.read()
"""


def test_while_one_measures_nobody_else_measures_or_deploys(sshd: Sshd, tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "b")
    with connection.connect(sshd.device) as conn, connection.connect(sshd.device) as other:
        with exclusive(conn, "bench", pytest.fail, quiet=False):
            with pytest.raises(DeviceRefused, match="a measurement is under way") as caught:
                deploy(sshd.device, folder)
            assert "bench by" in caught.value.detail
            with (
                pytest.raises(DeviceRefused, match="a measurement is under way"),
                exclusive(other, "tune", pytest.fail, quiet=False),
            ):
                pytest.fail("two at once")
        with exclusive(other, "tune", pytest.fail, quiet=False):
            pass
    assert deploy(sshd.device, folder).status == "done"


def test_a_quiet_device_is_waited_for(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exclusive_use, "LOOK_S", 0.2)
    monkeypatch.setattr(exclusive_use, "CALM_CPUS", 1e9)  # this machine is never calm
    said: list[str] = []
    waits, ends = threading.Event(), threading.Event()

    def first() -> None:
        with (
            connection.connect(sshd.device) as conn,
            exclusive(conn, "bench", pytest.fail, quiet=False),
        ):
            waits.set()
            assert ends.wait(60)

    def say(line: str) -> None:
        said.append(line)
        ends.set()

    thread = threading.Thread(target=first)
    thread.start()
    assert waits.wait(60)
    with connection.connect(sshd.device) as conn, exclusive(conn, "tune", say, quiet=True):
        thread.join()
    assert "bench by" in said[0]


def test_a_device_that_stays_busy_is_given_up(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exclusive_use, "LOOK_S", 0.1)
    monkeypatch.setattr(exclusive_use, "CALM_CPUS", -1e9)
    monkeypatch.setattr(exclusive_use, "PATIENCE_S", 5.0)
    said: list[str] = []
    with (
        connection.connect(sshd.device) as conn,
        pytest.raises(DeviceRefused, match="did not become quiet") as caught,
        exclusive(conn, "bench", said.append, quiet=True),
    ):
        pytest.fail("it never is calm")
    assert "CPUs are in use" in caught.value.detail
    assert said


def test_a_wait_that_nobody_needs_any_more_ends(sshd: Sshd) -> None:
    over = threading.Event()
    with (
        connection.connect(sshd.device) as conn,
        connection.connect(sshd.device) as other,
        exclusive(conn, "bench", pytest.fail, quiet=False),
        pytest.raises(DeviceRefused, match="not waited for any more") as caught,
        exclusive(other, "tune", lambda _: over.set(), quiet=False, wait=True, over=over),
    ):
        pytest.fail("two at once")
    assert "bench by" in caught.value.detail


def test_a_board_that_is_shared_is_left_to_who_waits_and_taken_again(
    sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exclusive_use, "LOOK_S", 0.1)
    for name, seconds in (("BEAT_S", 0.05), ("RETRY_S", 0.05), ("PAUSE_S", 1.0)):
        monkeypatch.setattr(tuning_devices, name, seconds)
    command = [str(sshd.folder / "bin" / "python3"), "-c", SERVER]
    monkeypatch.setattr(tuning_devices, "command", lambda _: command)
    said: queue.Queue[str] = queue.Queue()
    with tuning_devices.served(sshd.device, "key", "1.0", said.put, turn_s=0.5):
        with (
            connection.connect(sshd.device) as conn,
            exclusive(conn, "bench", lambda _: None, quiet=False, wait=True),
        ):
            while "bench by" not in said.get(timeout=60):
                pass  # the search looks for the board, which is ours
        while "is back" not in said.get(timeout=60):
            pass
    with (
        connection.connect(sshd.device) as conn,
        exclusive(conn, "bench", pytest.fail, quiet=False),
    ):
        pass
