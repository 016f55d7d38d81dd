"""Set-up: what a killed engine left must not stop the next, and what can't be done is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from toolchain.core import process
from toolchain.core.errors import BuildError, CommandError, EngineError
from toolchain.images.engine import Engine
from toolchain.images.unprivileged import root_job
from toolchain.workstation import setup


def test_a_killed_engines_pid_file_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "docker.pid"
    left.write_text("999999999")
    setup.remove_stale_pid(left)
    assert not left.exists()


def test_a_pid_that_another_program_got_since_is_stale(tmp_path: Path) -> None:
    left = tmp_path / "docker.pid"
    left.write_text(str(os.getpid()))
    setup.remove_stale_pid(left)
    assert not left.exists()


@pytest.mark.parametrize("content", ["", "not a number"])
def test_a_torn_pid_file_is_removed(tmp_path: Path, content: str) -> None:
    left = tmp_path / "docker.pid"
    left.write_text(content)
    setup.remove_stale_pid(left)
    assert not left.exists()


def test_a_zombie_is_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    left = tmp_path / "docker.pid"
    left.write_text(str(child))
    mine = Path(f"/proc/{os.getpid()}/comm").read_text().strip()
    monkeypatch.setattr(setup, "ENGINE_PROCESSES", (mine,))
    while Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
        pass
    setup.remove_stale_pid(left)
    os.waitpid(child, 0)
    assert not left.exists()


def test_an_engine_that_runs_but_does_not_answer_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / "docker.pid"
    left.write_text(str(os.getpid()))
    mine = Path(f"/proc/{os.getpid()}/comm").read_text().strip()
    monkeypatch.setattr(setup, "ENGINE_PROCESSES", (mine,))
    with pytest.raises(EngineError, match="does not answer"):
        setup.remove_stale_pid(left)
    assert left.exists()


def test_no_engine_is_an_error_that_says_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    with pytest.raises(EngineError) as caught:
        Engine()
    assert "invoke setup" in caught.value.resolution


def test_without_root_the_packages_to_install_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(setup, "PACKAGES", {"no-such-command": "some-package"})
    with pytest.raises(EngineError) as caught:
        setup.install(lambda _: None)
    assert "some-package" in caught.value.resolution


def test_every_check_that_fails_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    monkeypatch.setenv("PATH", "/nonexistent")
    failed = [c for c in setup.checks() if not c.ok]
    assert {"Docker engine", "mmdebstrap"} <= {c.name for c in failed}
    assert all(c.resolution for c in failed)


def test_an_engine_that_is_closed_to_the_user_is_not_installed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed() -> Engine:
        raise EngineError("no Docker engine answers")

    socket = tmp_path / "docker.sock"
    monkeypatch.setattr(setup, "Engine", closed)
    monkeypatch.setattr(setup, "SOCKETS", (socket,))
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    assert advice("Docker engine").startswith("run: invoke setup")
    socket.touch()
    assert "usermod --append --groups docker" in advice("Docker engine")
    with pytest.raises(EngineError, match="this user may not use it"):
        setup.install(lambda _: None)


def test_who_is_not_root_is_told_what_a_namespace_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> str:
        raise CommandError(["unshare"], 1, "unshare: Operation not permitted")

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(process, "run", refused)
    assert "apt-get install uidmap" in advice("user namespaces")
    with pytest.raises(BuildError, match="in a user namespace") as caught:
        root_job.in_namespace(Path("request.json"), lambda _: None)
    assert caught.value.detail == "unshare: Operation not permitted"


def advice(name: str) -> str:
    """What to do about one of the things that this machine needs."""
    (check,) = [check for check in setup.checks() if check.name == name]
    assert not check.ok
    return check.resolution
