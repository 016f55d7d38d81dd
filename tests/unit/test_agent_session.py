"""How the agent begins, by the Python of this machine, and what of its answers is believed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Self, cast

import pytest

from deploy.inventory.reading import Device
from deploy.release import agent_session, deployment
from deploy.release.agent_session import Session
from deploy.release.shell.sessions import open_session
from deploy.ssh.connection import Connection
from deploy.ssh.remote_process import RemoteProcess
from toolchain.core.errors import ConnectionFailed, DeviceRefused, ReleaseError


@pytest.mark.parametrize("named", [False, True])
def test_a_file_in_the_home_is_no_module_of_the_agents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, named: bool
) -> None:
    for name in ("json", "glob", "queue", "deploy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not the library')\n")
    if named:
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    process = Started(tmp_path)
    with open_session(cast("Connection", process)) as session:
        assert session.root == str(tmp_path / "root")
        assert session.look(["json"])["modules"].keys() == {"json"}


def test_under_a_login_that_lets_everyone_write_the_agent_does_not(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with open_session(cast("Connection", Started(tmp_path))) as session:
            session.lock("test")
            session.prepare([])
    finally:
        os.umask(before)
    modes = {p.name: p.stat().st_mode & 0o022 for p in (tmp_path / "root").rglob("*")}
    assert {"lock", "releases", "edgewright-root"} <= modes.keys()
    assert set(modes.values()) == {0}


class Started:
    """Stands for a connection whose device is this machine, logged in to a folder.

    Args:
        home: the folder.
    """

    def __init__(self, home: Path) -> None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        self.device = Device(
            name="board", host="board", target="rv64gc", python=version, root=str(home / "root")
        )
        self.home = home
        self.without_python = False

    def start(self, args: list[str], *, limit: float) -> LocalProcess:
        """Start a command."""
        del limit
        return LocalProcess(args, self.home)


class LocalProcess:
    """A command of this machine, as `RemoteProcess` would be one of a device."""

    def __init__(self, args: list[str], home: Path) -> None:
        # the device's Python is this one, wherever it is
        path = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        self._run = subprocess.Popen(
            args, cwd=home, env=path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._run.communicate()

    def write(self, content: bytes) -> None:
        assert self._run.stdin is not None
        self._run.stdin.write(content)
        self._run.stdin.flush()

    def line(self, *, within: float) -> str | None:
        assert within > 0
        assert self._run.stdout is not None
        return self._run.stdout.readline().decode() or None

    def close_input(self) -> None:
        assert self._run.stdin is not None
        self._run.stdin.close()
        self._run.stdin = None

    def wait(self) -> int:
        return 0

    def errors(self) -> str:
        return ""

    def ended_with(self, code: int) -> bool:
        return self._run.wait() == code

    def ended(self) -> bool:
        return self._run.poll() is not None


def test_what_an_unchanged_deployment_imports_is_little(tmp_path: Path) -> None:
    """Each of these takes a small board as long as all that is done there."""
    slow = ("typing", "platform", "sysconfig", "subprocess", "ctypes.util", "shutil", "tempfile")
    requests = [{"do": "look", "modules": []}, {"do": "inspect", "release": "", "files": []}]
    lines = "".join(f"{json.dumps(r)}\n" for r in [*requests, {"do": "bye"}])
    boot = agent_session.BOOT + "print([n for n in sys.argv[3:] if n in sys.modules])\n"
    ended = subprocess.run(
        [sys.executable, "-E", "-S", "-u", "-c", boot, str(tmp_path / "root"), "60", *slow],
        input=agent_session.sources() + lines.encode(), capture_output=True, check=True,
    )  # fmt: skip
    assert ended.stdout.splitlines()[-1] == b"[]"


class Answering:
    """Stands for the agent's process: what it answers is given; None is its end."""

    def __init__(self, line: str | None) -> None:
        self.answer = line

    def write(self, content: bytes) -> None:
        assert content.endswith(b"\n")

    def line(self, *, within: float) -> str | None:
        assert within > 0
        return self.answer

    def wait(self) -> int:
        return 1

    def errors(self) -> str:
        return "Traceback"


def session(answer: Any) -> Session:
    line = answer if answer is None or isinstance(answer, str) else json.dumps(answer)
    return Session("board", cast("RemoteProcess", Answering(line)))


INSPECTION = {
    "root": "/r", "current": "0" * 16, "previous": None, "intact": None, "have": [],
    "partial": {"0" * 64: 5}, "holder": None, "pending": None, "keys": [],
    "accepted": 0,
    "releases": [{"folder": "0" * 16, "serial": 1}],
}  # fmt: skip


def test_what_a_device_says_of_its_releases_is_a_value_of_a_type() -> None:
    newer = {"folder": "0" * 16, "serial": 1, "models": ["m"], "said by": "a later version"}
    state = session({"ok": {**INSPECTION, "releases": [newer]}}).inspect()
    assert (state.releases[0].models, state.partial) == (["m"], {"0" * 64: 5})


@pytest.mark.parametrize(
    "harm",
    [{"current": "../../etc"}, {"current": 5}, {"have": ["short"]}, {"partial": {"0" * 64: -1}},
     {"releases": [{"folder": "x", "serial": 1}]}, {"releases": {}}, {"pending": {"back": "x"}},
     {"more": 1}],
)  # fmt: skip
def test_an_answer_that_does_not_fit_is_not_used(harm: dict[str, Any]) -> None:
    with pytest.raises(ReleaseError, match="board: the device's answer can't be read"):
        session({"ok": {**INSPECTION, **harm}}).inspect()


@pytest.mark.parametrize(
    "line", ["", "{", "[]", "5", '{"failed": "no"}', '{"failed": {"kind": 1}}', '{"ok": "yes"}']
)
def test_a_line_that_is_no_answer_is_not_used(line: str) -> None:
    with pytest.raises(ReleaseError, match="can't be read"):
        session(line).take("0" * 64)


def test_a_step_that_failed_is_an_error_with_the_devices_words() -> None:
    failed = {"kind": "locked", "brief": "busy", "detail": "by ann", "resolution": "wait"}
    with pytest.raises(DeviceRefused, match="board: busy") as caught:
        session({"failed": failed}).lock("me")
    assert (caught.value.detail, caught.value.resolution) == ("by ann", "wait")
    with pytest.raises(ReleaseError, match="board: busy"):
        session({"failed": {**failed, "kind": "io"}}).finish("0" * 16)


def test_an_agent_that_ended_is_a_lost_connection() -> None:
    with pytest.raises(ConnectionFailed, match="ended") as caught:
        session(None).confirm()
    assert caught.value.detail == "Traceback"


def test_a_user_without_a_name_is_at_work_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(user: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {user}")

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert deployment.whoami().startswith(f"{os.getuid()}@")
