"""A user's program on a device: what an inventory may say of it, what the agent does with it."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from deploy.agent import service
from deploy.agent.files import Failure
from deploy.inventory import reading
from deploy.inventory.program import Health, Program, Service
from deploy.release import plan
from deploy.release.plan import Upload
from toolchain.core.errors import InventoryError

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[str]:
    """A device's folder of ours, with a release that is current."""
    release = tmp_path / "releases" / ("a" * 16)
    release.mkdir(parents=True)
    (tmp_path / "current").symlink_to(release)
    yield str(tmp_path)
    service.stop(str(tmp_path))


def program(service: list[str] | None = None, **health: Any) -> dict[str, Any]:
    return {
        "service": {"command": service, "manager": "system"} if service else None,
        "health": {"within": 1.0, **health} if health else None,
    }


def restarted(root: str, what: dict[str, Any]) -> None:
    service.restart(root, what)
    service.await_health(root, what)


@pytest.mark.parametrize(
    ("command", "detail"),
    [
        (SLEEP, "did not end"),
        ([sys.executable, "-c", "while True: print('x' * 10**5)"], "did not end"),
        (["sh", "-c", "echo not ready; exit 1"], "exit status 1: not ready"),
        (["sh", "-c", "sleep 60 & exec sleep 60"], "did not end"),
    ],
)
def test_a_health_command_has_its_time_and_no_more(
    root: str, command: list[str], detail: str
) -> None:
    began = time.monotonic()
    with pytest.raises(Failure, match="did not succeed within 1 s") as caught:
        restarted(root, program(command=command))
    assert time.monotonic() - began < 3
    assert detail in caught.value.fields["detail"]
    assert len(caught.value.fields["detail"]) < 10_000


class Unwell(BaseHTTPRequestHandler):
    """Well from the third time on that it is asked; asked at /drip it never ends its answer."""

    asked = 0

    def do_GET(self) -> None:
        Unwell.asked += 1
        if self.path == "/drip":
            for _ in range(100):
                self.wfile.write(b"H")
                time.sleep(0.05)
            return
        self.send_response(200 if self.path == "/x?y=1" and self.asked > 2 else 503)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Unwell) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_address_is_asked_until_it_answers_well(root: str, address: str) -> None:
    service.await_health(root, program(url=f"{address}/x?y=1"))
    assert Unwell.asked == 3
    for path, detail in {"/no": "answers 503", "/drip": "no answer"}.items():
        began = time.monotonic()
        with pytest.raises(Failure, match="within 1 s") as caught:
            service.await_health(root, program(url=address + path))
        assert detail in caught.value.fields["detail"]
        assert time.monotonic() - began < 2
    with pytest.raises(Failure) as caught:
        service.await_health(root, program(url="http://127.0.0.1:9/"))
    assert "refused" in caught.value.fields["detail"]


def test_a_program_that_ended_is_not_waited_for(root: str) -> None:
    ends = [sys.executable, "-c", "print('no weights'); raise SystemExit(3)"]
    for health in ({}, {"command": ["false"], "within": 60.0}, {"command": ["true"]}):
        began = time.monotonic()
        with pytest.raises(Failure, match="its program ended") as caught:
            restarted(root, program(ends, **health))
        assert time.monotonic() - began < 5
        assert "no weights" in caught.value.fields["detail"]


def test_a_file_in_the_home_is_no_module_of_what_starts_it(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    (home / "signal.py").write_text("raise SystemExit('not the library')\n")
    restarted(root, program(["sleep", "60"]))
    assert service.running(root) is not None


def test_a_restart_ends_the_one_before_with_all_that_it_started(root: str) -> None:
    inner = Path(root, "inner")
    script = f"(trap '' TERM; exec sleep 60) & echo $! > {inner}; sleep 60"
    restarted(root, program(["sh", "-c", script]))
    first = service.running(root)
    restarted(root, program(SLEEP))
    assert service.running(root) not in (None, first)
    with pytest.raises((OSError, ValueError)):
        service._began(int(inner.read_text()))


def test_a_program_that_does_not_end_when_asked_is_ended(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "END", 0.5)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    restarted(root, program([sys.executable, "-c", deaf]))
    service.stop(root)
    assert service.running(root) is None


def test_a_process_that_only_has_the_number_is_left_alone(root: str) -> None:
    note = Path(root, service.NOTE)
    note.write_text(f'{{"process": {os.getpid()}, "began": "1"}}')
    service.stop(root)
    assert service.running(root) is None
    for text in ("", "[]", '{"process": "x"}', '{"process": 1}'):
        note.write_text(text)
        assert service.running(root) is None


def test_without_a_release_nothing_runs(root: str) -> None:
    restarted(root, program(SLEEP))
    Path(root, "current").unlink()
    service.restart(root, program(SLEEP))
    assert service.running(root) is None


def test_a_log_does_not_grow_without_end(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "LARGEST_LOG", 10)
    Path(root, service.LOG).write_text("x" * 11)
    restarted(root, program(SLEEP))
    assert Path(root, service.LOG + ".1").read_text() == "x" * 11
    assert Path(root, service.LOG).read_text() == ""


FAKE = """#!/bin/sh
echo "$@" >> {root}/asked
case "$*" in
  *show*known.service) echo LoadState=loaded;;
  *show*) echo LoadState=not-found;;
  *restart*fails.service) echo "Job for fails.service failed."; exit 1;;
  *is-active*) test -e {root}/active;;
esac
"""


def test_a_unit_is_restarted_by_its_manager(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "bin" / "systemctl"
    fake.parent.mkdir()
    fake.write_text(FAKE.format(root=root))
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    asked = Path(root, "asked")

    def unit(name: str, manager: str = "system") -> dict[str, Any]:
        return {"service": {"unit": name, "manager": manager}, "health": None}

    assert service.absent(root, unit("known.service")) == ""
    said = service.absent(root, unit("other.service"))
    assert said == "systemd has no unit other.service (not-found)"
    Path(root, "active").touch()
    asked.unlink()
    restarted(root, unit("known.service", "user"))
    assert asked.read_text().splitlines() == [
        "--user --no-ask-password reset-failed known.service",
        "--user --no-ask-password restart known.service",
        "--user --no-ask-password is-active --quiet known.service",
    ]
    with pytest.raises(Failure, match=r"fails.service did not restart") as caught:
        restarted(root, unit("fails.service"))
    assert "Job for fails.service failed." in caught.value.fields["detail"]
    Path(root, "active").unlink()
    with pytest.raises(Failure, match="its program ended"):
        restarted(root, unit("known.service"))


@pytest.mark.parametrize(
    ("sudo", "said"),
    [
        ('shift; RIGHT="all lines" exec "$@"', "all lines"),
        ("echo sudo: a password is required; exit 1", "active"),
    ],
)
def test_the_lines_of_a_unit_are_read_as_the_login_may(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sudo: str, said: str
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, script in (
        ("sudo", sudo),
        ("systemctl", 'case $2 in status) echo "${RIGHT:-active}"; exit 3; esac'),
    ):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    health = {"command": ["false"], "within": 0.1}
    unit = {"service": {"unit": "known.service", "manager": "system"}, "health": health}
    with pytest.raises(Failure) as caught:
        service.await_health(root, unit)
    assert caught.value.fields["detail"].splitlines()[-1] == said


def inventory(tmp_path: Path, block: str) -> Program:
    file = tmp_path / "inventory.yml"
    lines = "".join(f"\n        {line}" for line in block.splitlines())
    file.write_text(f"all:\n  hosts:\n    a:\n      edgewright:\n        target: rv64gc{lines}\n")
    return reading.load(file).host("a").program


def test_an_inventory_says_what_lives_with_the_releases(tmp_path: Path) -> None:
    assert not inventory(tmp_path, "")
    text = "service: {unit: detector.service, manager: user}\n"
    text += "health: {url: 'http://127.0.0.1:8000/ok', within: 20}"
    found = inventory(tmp_path, text)
    assert found.service == Service(unit="detector.service", manager="user")
    assert found.health == Health(url="http://127.0.0.1:8000/ok", within=20.0)
    plain = inventory(tmp_path, "service:\n  command: python3 'my app.py' -x").plain()
    assert plain["service"]["command"] == ["python3", "my app.py", "-x"]
    assert plain["health"] is None


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("service: {}", "either unit or command"),
        ("service: {unit: a.service, command: b}", "either unit or command"),
        ('service: {command: "python3 \'a"}', "is no command"),
        ("service: {unit: '-x'}", "unit"),
        ("service: {unit: a.service, manager: root}", "manager"),
        ("service: detector.service", "must be a mapping"),
        ("health: {url: 'https://127.0.0.1/'}", "url"),
        ("health: {url: 'http://a b/'}", "url"),
        ("health: {command: 'true', within: 0}", "within"),
        ("health: {command: 'true', within: 1000}", "within"),
        ("health: {command: 'true', after: 1}", "unknown key"),
    ],
)
def test_what_can_not_be_meant_is_refused_with_its_line(
    tmp_path: Path, block: str, said: str
) -> None:
    with pytest.raises(InventoryError, match=said) as caught:
        inventory(tmp_path, block)
    assert "inventory.yml" in caught.value.brief


def test_a_plan_sums_up_what_is_sent() -> None:
    files = {"wheels/a.whl": 5, "wheels/b.whl": 7, "models/net/b1/x": 1, "models/net/b1/y": 2}
    files |= {
        "models/net/b1/samples.npz": 9,
        "models/net/b4/x": 1,
        "runner/main.py": 3,
        "requirements.txt": 4,
    }
    uploads = tuple(
        Upload(path=path, sha256="a" * 64, size=size, offset=0) for path, size in files.items()
    )
    of_them = "9 of them inputs that bench compares outputs on: --samples N sends N"
    assert plan._sent(uploads) == [
        "send 2 files of wheels (12 bytes)",
        f"send 3 files of models/net/b1 (12 bytes, {of_them})",
        "send models/net/b4/x (1 bytes)",
        "send runner/main.py (3 bytes)",
        "send requirements.txt (4 bytes)",
    ]
