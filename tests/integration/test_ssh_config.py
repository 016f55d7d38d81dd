"""What ~/.ssh/config says of a device holds: name, port, user's key, and the host to jump over."""

from __future__ import annotations

import dataclasses
import getpass
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.inventory import reading
from deploy.release import fleet, rollout
from deploy.release.fleet import Limits
from deploy.ssh import connection
from tests.support import openssh
from tests.support.sshd import Sshd
from toolchain.core.errors import ConnectionFailed, HostKeyError

pytestmark = pytest.mark.integration


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    (folder / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    openssh.configured(monkeypatch, folder, folder / ".ssh" / "config")
    return folder


@pytest.fixture
def servers(tmp_path: Path, home: Path) -> Iterator[list[Sshd]]:
    made = [Sshd(tmp_path / "far"), Sshd(tmp_path / "gate")]
    for server in made:
        server.start()
    yield made
    for server in made:
        server.stop()


def write(home: Path, servers: list[Sshd], *, jump: bool, trust_gate: bool = True) -> Path:
    """The user's ssh files, and an inventory that has but a name."""
    far, gate = servers
    lines = [
        "Host desk", "  HostName 127.0.0.1", f"  Port {far.port}", f"  User {getpass.getuser()}",
        f"  IdentityFile {far.folder}/user_key", "  ProxyJump gate" if jump else "",
        "Host gate", "  HostName 127.0.0.1", f"  Port {gate.port}", f"  User {getpass.getuser()}",
        f"  IdentityFile {gate.folder}/user_key",
        "Host *", f"  UserKnownHostsFile {home}/.ssh/known_hosts",
    ]  # fmt: skip
    (home / ".ssh" / "config").write_text("\n".join(lines) + "\n")
    known = (far.folder / "known_hosts").read_text()
    known += (gate.folder / "known_hosts").read_text() if trust_gate else ""
    (home / ".ssh" / "known_hosts").write_text(known)
    path = home / "inventory.yml"
    path.write_text("all: {hosts: {desk: {edgewright: {target: rv64gc}}}}\n")
    return path


def log(server: Sshd) -> str:
    return (server.folder / "log").read_text()


def test_name_port_and_key_come_from_there(home: Path, servers: list[Sshd]) -> None:
    device = reading.load(write(home, servers, jump=False)).host("desk")
    with connection.connect(device) as conn:
        assert conn.run(["echo", "here"]) == "here\n"
    assert "Accepted publickey" in log(servers[0])
    assert "Accepted" not in log(servers[1])


def test_a_device_behind_another_host_is_reached_through_it(
    home: Path, servers: list[Sshd]
) -> None:
    device = reading.load(write(home, servers, jump=True)).host("desk")
    (found,) = fleet.run([device], rollout.probed, limits=Limits(), show=lambda *_: None)
    assert found.status == "done", found.plain()
    assert all("Accepted publickey" in log(server) for server in servers)


def test_the_jump_host_is_blamed_when_it_fails_and_the_board_when_the_board_does(
    home: Path, servers: list[Sshd]
) -> None:
    device = reading.load(write(home, servers, jump=True)).host("desk")
    far, gate = servers
    far.stop()
    words = f"desk: jump host gate does not reach 127.0.0.1:{far.port}"
    with pytest.raises(ConnectionFailed) as caught, connection.connect(device):
        pass
    assert caught.value.brief == words
    gate.stop()
    with pytest.raises(ConnectionFailed) as caught, connection.connect(device):
        pass
    assert caught.value.brief == f"desk: jump host gate: no connection to 127.0.0.1:{gate.port}"
    assert "Try: ssh gate true" in caught.value.resolution


def test_a_jump_host_that_does_not_let_us_in_is_named(home: Path, servers: list[Sshd]) -> None:
    device = reading.load(write(home, servers, jump=True)).host("desk")
    (servers[1].folder / "user_key").unlink()
    with pytest.raises(ConnectionFailed, match="desk: jump host gate: it did not let us in"):
        connection.connect(device).__enter__()


def test_a_command_carries_the_connection(home: Path, servers: list[Sshd]) -> None:
    path = write(home, servers, jump=False)
    carrier = home / "carry"
    carrier.write_text(
        "import os, socket, sys, threading\n"
        "link = socket.create_connection(sys.argv[1:3])\n"
        "def out():\n"
        "    while piece := os.read(0, 65536): link.sendall(piece)\n"
        "threading.Thread(target=out, daemon=True).start()\n"
        "while piece := link.recv(65536): os.write(1, piece)\n"
    )
    config = home / ".ssh" / "config"
    command = f"{sys.executable} {carrier} %h %p || echo '100%%'"
    config.write_text(f"Host desk\n  ProxyCommand {command}\n{config.read_text()}")
    with connection.connect(reading.load(path).host("desk")) as conn:
        assert conn.run(["echo", "here"]) == "here\n"
    carrier.write_text("raise SystemExit('no route')")
    with pytest.raises(ConnectionFailed, match="desk: no connection") as caught:
        connection.connect(reading.load(path).host("desk")).__enter__()
    assert "no route" in caught.value.detail


def test_an_alias_is_what_known_hosts_calls_it(home: Path, servers: list[Sshd]) -> None:
    path = write(home, servers, jump=False)
    config = home / ".ssh" / "config"
    config.write_text(f"Host desk\n  HostKeyAlias shelf\n{config.read_text()}")
    key = (servers[0].folder / "host_key.pub").read_text()
    (home / ".ssh" / "known_hosts").write_text(f"shelf {key}")
    with connection.connect(reading.load(path).host("desk")):
        pass


def test_the_host_to_jump_over_has_to_be_known_too(home: Path, servers: list[Sshd]) -> None:
    device = reading.load(write(home, servers, jump=True, trust_gate=False)).host("desk")
    words = "desk: jump host gate: its host key is not known"
    with pytest.raises(HostKeyError, match=words), connection.connect(device):
        pass


def test_the_inventory_wins_over_it(home: Path, servers: list[Sshd]) -> None:
    device = reading.load(write(home, servers, jump=False)).host("desk")
    gate = servers[1]
    (home / ".ssh" / "known_hosts").write_text((gate.folder / "known_hosts").read_text())
    other = dataclasses.replace(device, port=gate.port, key_file=gate.folder / "user_key")
    with connection.connect(other) as conn:
        home_there = conn.run(["sh", "-c", "echo $HOME"]).strip()
    assert home_there == str(gate.folder)
