"""A program that is a unit of a real systemd, restarted and taken back with the releases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pytest

from deploy.inventory.program import Health, Program, Service
from deploy.inventory.reading import Device
from deploy.release import deployment
from deploy.release.agent_session import Session
from deploy.release.plan import Outcome
from deploy.ssh import connection
from tests.support.bundles import make_bundle
from tests.support.sshd import deploy, wait_until
from tests.support.systemd_device import HOME, PYTHON, SystemdDevice
from toolchain.core.errors import CommandError, ConnectionFailed, DeviceRefused, ReleaseError

pytestmark = pytest.mark.integration
# Says which release it found; its release's wheel says whether it is well, and None that it ends.
PROGRAM = """\
import http.server, pathlib, sys
import tiny

if tiny.WORKS is None:
    sys.exit("no weights")
found = pathlib.Path(sys.argv[1]).resolve().name.encode()

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if tiny.WORKS else 500)
        self.end_headers()
        self.wfile.write(found)

http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), Answer).serve_forever()
"""
ASK = """
import sys, urllib.error, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1]).read().decode(), end="")
except urllib.error.HTTPError as error:
    print(error.read().decode(), end="")
"""
UNIT = """\
[Service]
{user}
ExecStart={root}/current/venv/bin/python {home}/program.py {root}/current {port}
"""
PLACES = {"system": "/etc/systemd/system", "user": f"{HOME}/.config/systemd/user"}


Manager = Literal["system", "user"]


@dataclass(frozen=True)
class Unit:
    """A unit on the device, and how to deploy to it."""

    board: SystemdDevice
    manager: Manager
    device: Device
    url: str

    def show(self, name: str) -> str:
        """A property of the unit."""
        scope = ["--user"] if self.manager == "user" else []
        user = "edge" if self.manager == "user" else "root"
        asked = ["systemctl", *scope, "show", "--value", f"--property={name}", "detector.service"]
        return self.board.call(asked, user=user).strip()

    def answers(self) -> str:
        """The release that its program has found; empty while it does not answer."""
        try:
            return self.board.call(["python3", "-c", ASK, self.url])
        except CommandError:
            return ""

    def deploy(self, folder: Path, **said: str) -> Outcome:
        code = said.pop("code", "WORKS = True\n")
        bundle = make_bundle(folder, version=folder.name, code=code, python=PYTHON)
        return deploy(self.device, bundle)


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemdDevice]:
    started = SystemdDevice(tmp_path_factory.mktemp("systemd"))
    started.write(f"{HOME}/program.py", PROGRAM)
    yield started
    started.end()


@pytest.fixture
def unit(request: pytest.FixtureRequest, board: SystemdDevice) -> Unit:
    """A unit of the system's systemd, or of the login's own."""
    manager, port = request.param, {"system": 8001, "user": 8002}[request.param]
    root = f"{HOME}/{manager}"
    user, login = ("User=edge", "root") if manager == "system" else ("", "edge")
    text = UNIT.format(user=user, root=root, home=HOME, port=port)
    board.write(f"{PLACES[manager]}/detector.service", text, user=login)
    scope = ["--user"] if manager == "user" else []
    board.call(["systemctl", *scope, "daemon-reload"], user=login)
    url = f"http://127.0.0.1:{port}/"
    service = Service(unit="detector.service", manager=manager)
    program = Program(service=service, health=Health(url=url, within=60))
    return Unit(board, manager, board.device(root, program), url)


@pytest.mark.parametrize("unit", ["system", "user"], indirect=True)
def test_a_unit_goes_where_the_releases_go(unit: Unit, tmp_path: Path) -> None:
    one = unit.deploy(tmp_path / "1.0")
    assert unit.answers() == one.folder
    first = unit.show("MainPID")
    two = unit.deploy(tmp_path / "2.0")
    assert unit.answers() == two.folder
    assert unit.show("MainPID") != first
    with connection.connect(unit.device) as conn:
        back = deployment.rollback(conn)
    assert unit.answers() == back.folder == one.folder


@pytest.mark.parametrize("unit", ["system"], indirect=True)
def test_a_release_whose_unit_is_not_well_goes_back_by_itself(
    unit: Unit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = unit.deploy(tmp_path / "1.0")
    with pytest.raises(ReleaseError, match=f"program ended, so it went back to {good.folder}"):
        unit.deploy(tmp_path / "3.0", code="WORKS = None\n")
    assert wait_until(lambda: unit.answers() == good.folder, 60)

    program = replace(unit.device.program, health=Health(url=unit.url, within=3))
    impatient = replace(unit, device=replace(unit.device, program=program))
    with pytest.raises(ReleaseError, match="did not succeed within 3 s, so it went back") as caught:
        impatient.deploy(tmp_path / "4.0", code="WORKS = False\n")
    assert f"{unit.url} answers 500" in caught.value.detail
    assert wait_until(lambda: unit.answers() == good.folder, 60)
    assert unit.show("ActiveState") == "active"

    restart = Session.restart

    def lost(self: Session, program: Program) -> None:
        restart(self, program)
        assert unit.answers() not in ("", good.folder)
        unit.board.drop_links()
        raise ConnectionFailed("cut here")

    monkeypatch.setattr(Session, "restart", lost)
    with pytest.raises(ReleaseError):
        unit.deploy(tmp_path / "5.0")
    assert wait_until(lambda: unit.answers() == good.folder, 60)


@pytest.mark.parametrize("unit", ["system", "user"], indirect=True)
def test_a_unit_that_is_not_there_is_said_before_anything_is_written(
    unit: Unit, tmp_path: Path
) -> None:
    absent = Service(unit="detectr.service", manager=unit.manager)
    root = f"{HOME}/never-{unit.manager}"
    device = replace(unit.device, program=Program(service=absent), root=root)
    with pytest.raises(DeviceRefused, match=r"systemd has no unit detectr.service \(not-found\)"):
        deploy(device, make_bundle(tmp_path / "b", python=PYTHON))
    with pytest.raises(CommandError):
        unit.board.call(["test", "-e", root])
