"""Host keys, decided as OpenSSH's own client decides: both are let loose on the same server."""

from __future__ import annotations

import dataclasses
import ipaddress
import random
import shutil
from pathlib import Path

import pytest

from deploy.inventory import reading
from deploy.inventory.reading import Device
from deploy.ssh import connection
from tests.support import openssh
from tests.support.openssh import KnownHostsFiles, keygen
from tests.support.sshd import Sshd
from toolchain.core import process
from toolchain.core.errors import CommandError, HostKeyError

# a pair of connections takes a quarter of a second: all 300 files are compared in
# tests/unit/test_known_hosts.py, by what ssh-keygen finds in them
FILES = 48
ALIAS = "shelf"


@pytest.fixture
def config(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What ssh is configured by, beside what a test gives it."""
    path = tmp_path / "ssh_config"
    path.write_text("")
    openssh.configured(monkeypatch, tmp_path, path)
    return path


def ssh_takes(device: Device, known: Path) -> bool:
    """Whether OpenSSH's client takes the server's key.

    Args:
        device: the server, and `strict` or `accept-new`.
        known: the file that it reads and writes.
    """
    policy = "yes" if device.host_keys == "strict" else device.host_keys
    options = [
        "BatchMode=yes", f"UserKnownHostsFile={known}", "GlobalKnownHostsFile=/dev/null",
        f"StrictHostKeyChecking={policy}", "LogLevel=ERROR",
    ]  # fmt: skip
    where = ["-p", str(device.port), "-i", str(device.key_file), device.host]
    try:
        process.run(["ssh", *(part for o in options for part in ("-o", o)), *where, "true"])
    except CommandError as error:
        if "Host key verification failed" not in error.output:
            raise
        return False
    return True


def we_take(device: Device) -> bool:
    try:
        with connection.connect(device):
            return True
    except HostKeyError:
        return False


@pytest.mark.parametrize("alias", ["", ALIAS])
@pytest.mark.parametrize("policy", ["strict", "accept-new"])
def test_ssh_and_we_take_the_same_keys_and_write_down_the_same(
    sshd: Sshd, config: Path, tmp_path: Path, policy: str, alias: str
) -> None:
    if alias:
        config.write_text(f"HostKeyAlias {alias}\n")
    chance = random.Random(f"{policy} {alias}")  # noqa: S311 (a seed is the point)
    names = ("127.0.0.1", *[f"[127.0.0.1]:{sshd.port}"] * 3, *[ALIAS] * (3 if alias else 0))
    files = KnownHostsFiles(tmp_path, chance, names, sshd.folder / "host_key.pub")
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    device = dataclasses.replace(sshd.device, known_hosts=ours, host_keys=policy)
    taken = 0
    for _ in range(FILES // 4):
        ours.write_bytes(files())
        before = ours.read_bytes()
        theirs.write_bytes(before)
        expected = ssh_takes(device, theirs)
        assert we_take(device) is expected, before
        assert ours.read_bytes() == theirs.read_bytes(), before
        taken += expected
    assert 0 < taken < FILES // 4


def test_a_new_key_does_not_stick_to_a_line_without_an_end(sshd: Sshd) -> None:
    known = sshd.folder / "known_hosts"
    known.write_text(f"gate {(sshd.folder / 'other_host_key.pub').read_text().rstrip()}")
    device = dataclasses.replace(sshd.device, host_keys="accept-new")
    assert we_take(device)
    assert [line.split()[0] for line in known.read_text().splitlines()] == [
        "gate", f"[127.0.0.1]:{sshd.port}"
    ]  # fmt: skip
    assert we_take(sshd.device)


def test_a_damaged_line_is_passed_over(sshd: Sshd) -> None:
    known = sshd.folder / "known_hosts"
    known.write_bytes(b"gate ssh-rsa AAA\n|1|x|y ssh-rsa AAAA\n\xff\n@\n" + known.read_bytes())
    assert we_take(sshd.device)


def test_what_is_printed_for_an_unknown_key_makes_it_known_when_it_is_pasted(
    sshd: Sshd, tmp_path: Path
) -> None:
    known = tmp_path / "a folder" / "it's known"
    device = dataclasses.replace(sshd.device, known_hosts=known)
    with pytest.raises(HostKeyError, match="not known") as caught, connection.connect(device):
        pass
    paste(caught.value)
    assert we_take(device)
    known.write_text(known.read_text().rstrip())  # and a line without an end
    other = dataclasses.replace(device, host="localhost")
    with pytest.raises(HostKeyError, match="not known") as caught, connection.connect(other):
        pass
    paste(caught.value)
    assert we_take(device)
    assert we_take(other)


def test_what_is_printed_for_a_changed_key_makes_it_known_when_it_is_pasted(
    sshd: Sshd, tmp_path: Path
) -> None:
    known = tmp_path / "known hosts"
    key = (sshd.folder / "other_host_key.pub").read_text()
    known.write_text(f"gate {key}[127.0.0.1]:{sshd.port} {key}")
    device = dataclasses.replace(sshd.device, known_hosts=known)
    with pytest.raises(HostKeyError, match="not the one that is known") as caught:
        connection.connect(device).__enter__()
    assert f"({known}, line 2)" in caught.value.detail
    paste(caught.value)
    assert we_take(device)
    assert known.read_text().startswith(f"gate {key}")


def paste(error: HostKeyError) -> None:
    """Do as an error says, with the commands that come after the comparison."""
    commands = [line for line in error.resolution.splitlines() if line.startswith("    ")]
    assert commands[0].startswith("    ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub")
    process.run(["sh", "-ec", "\n".join(commands[1:])])


@pytest.mark.parametrize("revoked", ["in known_hosts", "as RevokedHostKeys"])
def test_a_revoked_key_is_refused(sshd: Sshd, config: Path, tmp_path: Path, revoked: str) -> None:
    key = (sshd.folder / "host_key.pub").read_text()
    if revoked == "in known_hosts":
        with (sshd.folder / "known_hosts").open("a") as stream:
            stream.write(f"@revoked * {key}")
    else:
        (tmp_path / "revoked").write_text(key)
        config.write_text(f"RevokedHostKeys {tmp_path}/revoked\n")
    assert not ssh_takes(sshd.device, sshd.folder / "known_hosts")
    with pytest.raises(HostKeyError, match="its host key is revoked"):
        connection.connect(sshd.device).__enter__()


CERTIFICATES = {
    "good": ["-n", "127.0.0.1,gate"],
    "for every host": [],
    "by a pattern": ["-n", "127.*"],
    "for another host": ["-n", "127.0.0.2"],
    "of yesterday": ["-n", "127.0.0.1", "-V", "-2d:-1d"],
    "of tomorrow": ["-n", "127.0.0.1", "-V", "+1d:+2d"],
}


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
@pytest.mark.parametrize("what", CERTIFICATES)
def test_an_authority_vouches_for_a_host(
    sshd: Sshd, config: Path, tmp_path: Path, what: str, kind: str
) -> None:
    assert config.read_text() == ""
    sshd.stop()
    authority, key = keygen(tmp_path / "ca", kind), keygen(tmp_path / "host", kind)
    process.run(
        ["ssh-keygen", "-q", "-s", tmp_path / "ca", "-h", "-I", "x", *CERTIFICATES[what], key]
    )
    sshd.more = [f"HostKey {tmp_path}/host", f"HostCertificate {tmp_path}/host-cert.pub"]
    sshd.start()
    known = sshd.folder / "known_hosts"
    known.write_text(f"@cert-authority [127.0.0.1]:{sshd.port} {authority.read_text()}")
    expected = ssh_takes(sshd.device, known)
    assert we_take(sshd.device) is expected
    assert expected is (what in ("good", "for every host"))
    with known.open("a") as stream:
        stream.write(f"@revoked * {authority.read_text()}")
    assert not ssh_takes(sshd.device, known)
    assert not we_take(sshd.device)


def link_local() -> str:
    """An address of this machine that needs its zone, with it."""
    for line in Path("/proc/net/if_inet6").read_text().splitlines():
        digits, *_, name = line.split()
        if digits.startswith("fe80"):
            return f"{ipaddress.ip_address(bytes.fromhex(digits))}%{name}"
    pytest.skip("no interface here has a link-local address")


@pytest.mark.parametrize("written", ["short", "in full", "in brackets", "with a zone"])
def test_addresses_are_reached_however_they_are_written(
    sshd: Sshd, config: Path, written: str
) -> None:
    assert config.read_text() == ""
    sshd.stop()
    address = link_local() if written == "with a zone" else "::1"
    sshd.more = [f"ListenAddress [{address}]:{sshd.port}"]
    sshd.start()
    forms = {"in full": "0:0:0:0:0:0:0:1", "in brackets": "[::1]"}
    path = sshd.folder / "inventory.yml"
    path.write_text(
        f"all: {{hosts: {{board: {{ansible_host: '{forms.get(written, address)}',"
        " edgewright: {target: rv64gc}}}}\n"
    )
    host = reading.load(path).host("board").host
    known = sshd.folder / "known_hosts"
    device = dataclasses.replace(sshd.device, host=host)
    theirs = known.with_name("theirs")
    shutil.copy(known, theirs)
    with pytest.raises(HostKeyError, match="not known") as caught:
        connection.connect(device).__enter__()
    paste(caught.value)
    assert we_take(device)
    assert ssh_takes(dataclasses.replace(device, host_keys="accept-new"), theirs)
    assert known.read_text().split()[:5] == theirs.read_text().split()[:5]
