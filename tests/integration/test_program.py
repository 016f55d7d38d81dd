"""A user's program that lives with the releases: restarted with them, and taken back with them."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import time
from pathlib import Path

import pytest

from deploy.inventory.program import Health, Program, Service
from deploy.inventory.reading import Device
from deploy.release import deployment
from deploy.release.agent_session import Session
from deploy.ssh import connection
from tests.support.bundles import make_bundle
from tests.support.sshd import Sshd, deploy, wait_until
from toolchain.core.errors import ConnectionFailed, DeviceRefused, ReleaseError

pytestmark = pytest.mark.integration
# Says which release it found; writes there what its release's wheel is; is well in its time.
PROGRAM = """\
import os, pathlib, signal, sys, time
import tiny
home = pathlib.Path(os.environ["HOME"])
(home / "started").write_text(os.environ["EDGEWRIGHT_RELEASE"] + " " + str(tiny.WORKS))
print("hello from", os.path.basename(os.environ["EDGEWRIGHT_RELEASE"]), flush=True)
if tiny.WORKS is None:
    sys.exit("no weights")
time.sleep(600)
"""
# seconds that a restart may add to a deployment beside the program's own start
ADDED = 1.0


@pytest.fixture(autouse=True)
def program(sshd: Sshd) -> Path:
    path = sshd.folder / "program.py"
    path.write_text(PROGRAM)
    return path


def living(sshd: Sshd, health: Health | None = None, *, command: str = "") -> Device:
    """The device, with the program among its entry's words."""
    service = Service(command=command or f"python3 {sshd.folder}/program.py")
    return dataclasses.replace(sshd.device, program=Program(service=service, health=health))


def well(sshd: Sshd) -> Health:
    """Well when the program that runs is that of the release that is current."""
    script = sshd.folder / "well.sh"
    script.write_text(f'grep -q "^$EDGEWRIGHT_RELEASE True" {sshd.folder}/started\n')
    return Health(command=f"sh {script}", within=10)


def started(sshd: Sshd) -> str:
    """The release that the program has found."""
    path = sshd.folder / "started"
    return Path(path.read_text().split()[0]).name if path.exists() else ""


def process(sshd: Sshd) -> int:
    return int(json.loads((sshd.root / "program.json").read_text())["process"])


def alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.fixture(autouse=True)
def ended(sshd: Sshd, program: Path) -> object:
    yield
    from deploy.agent import service

    assert program
    service.stop(str(sshd.root))


def test_the_program_goes_where_the_releases_go(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = []
    restart = Session.restart

    def timed(self: Session, program: Program) -> None:
        began = time.monotonic()
        restart(self, program)
        seconds.append(time.monotonic() - began)

    monkeypatch.setattr(Session, "restart", timed)
    device = living(sshd, well(sshd))
    one = deploy(sshd.device, make_bundle(tmp_path / "1", version="1.0"))
    assert deploy(device, tmp_path / "1").status == "unchanged"
    first = process(sshd)
    assert alive(first), "a program that does not run is started, though the release is there"
    assert deploy(device, tmp_path / "1").status == "unchanged"
    assert process(sshd) == first, "and one that runs is left alone"
    two = deploy(device, make_bundle(tmp_path / "2", version="2.0"))
    second = process(sshd)
    assert alive(second)
    assert not alive(first)
    assert started(sshd) == two.folder
    with connection.connect(device) as conn:
        back = deployment.rollback(conn)
    assert started(sshd) == back.folder == one.folder
    assert not alive(second)
    log = (sshd.root / "program.log").read_text()
    assert re.findall("hello from (.*)", log) == [one.folder, two.folder, one.folder]
    assert len(seconds) == 3
    assert max(seconds) < ADDED


def test_a_release_whose_program_is_not_well_goes_back_by_itself(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = living(sshd, well(sshd))
    with pytest.raises(ReleaseError, match="program ended, so it went back to no release"):
        deploy(device, make_bundle(tmp_path / "none", code="WORKS = None\n"))
    assert sshd.running() is None
    assert not alive(process(sshd))
    good = deploy(device, make_bundle(tmp_path / "good", version="2.0"))
    first = process(sshd)

    bad = make_bundle(tmp_path / "bad", version="3.0", code="WORKS = False\n")
    endless = living(sshd, Health(command="sleep 600", within=1))
    with pytest.raises(ReleaseError, match="did not succeed within 1 s") as caught:
        deploy(endless, bad)
    assert f"so it went back to {good.folder}" in caught.value.brief
    assert "hello from" in caught.value.detail
    assert sshd.running() == good.folder
    assert wait_until(lambda: started(sshd) == good.folder)
    assert alive(process(sshd))
    assert process(sshd) != first
    assert not (sshd.root / "pending").exists()

    restart = Session.restart

    def lossy(self: Session, program: Program) -> None:
        restart(self, program)
        assert started(sshd) != good.folder
        sshd.drop_links()
        raise ConnectionFailed("cut here")

    monkeypatch.setattr(Session, "restart", lossy)
    with pytest.raises(ReleaseError):
        deploy(device, make_bundle(tmp_path / "next", version="4.0"))
    assert wait_until(lambda: started(sshd) == sshd.running() == good.folder)
    assert wait_until(lambda: alive(process(sshd)))


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (Program(service=Service(unit="no-such-thing.service")), "no-such-thing.service|systemd"),
        (Program(service=Service(command="/no/such/program")), "no program /no/such/program"),
        (Program(health=Health(command="no-such-program -x")), "no program no-such-program"),
    ],
)
def test_a_program_that_is_not_there_is_said_before_anything_is_written(
    sshd: Sshd, tmp_path: Path, program: Program, said: str
) -> None:
    device = dataclasses.replace(sshd.device, program=program)
    with pytest.raises(DeviceRefused, match=said):
        deploy(device, make_bundle(tmp_path / "b"))
    assert not sshd.root.exists()


def test_a_dry_run_says_what_would_be_done(sshd: Sshd, tmp_path: Path) -> None:
    health = Health(command=f"{sys.executable} -c pass", within=5)
    with connection.connect(living(sshd, health, command="sleep 9")) as conn:
        steps = deployment.plan(conn, make_bundle(tmp_path / "1")).steps
    assert steps[-2:] == (
        "restart sleep 9",
        f"go back unless within 5 s this succeeds: {sys.executable} -c pass",
    )
    assert not sshd.root.exists()
