"""What files of known hosts say, compared with OpenSSH's own programs on generated files."""

from __future__ import annotations

import base64
import random
import re
import stat
from pathlib import Path

import paramiko
import pytest

from deploy.ssh import known_hosts
from deploy.ssh.known_hosts import KnownHost, Verdict
from tests.support.openssh import KnownHostsFiles, keygen
from toolchain.core import process
from toolchain.core.errors import CommandError

FILES = 300
PORT = 2222
HOST = "board.example"
NAME = f"[{HOST}]:{PORT}"
KEYS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256")


def blob(public: Path) -> bytes:
    return base64.b64decode(public.read_text().split()[1])


def found_by_ssh_keygen(path: Path, name: str) -> list[tuple[int, str, str]]:
    """Line, marker and fingerprint of what it takes for keys of a host."""
    try:
        text = process.run(["ssh-keygen", "-l", "-F", name, "-f", path])
    except CommandError as error:
        text = error.output
    markers = {"": "", "CA": "@cert-authority", "REVOKED": "@revoked"}
    places = re.findall(r"^# Host .* found: line (\d+) ?(\w*)", text, re.MULTILINE)
    prints = re.findall(r"^\S+ \S+ (SHA256:\S+)", text, re.MULTILINE)
    return [(int(n), markers[m], p) for (n, m), p in zip(places, prints, strict=True)]


@pytest.mark.parametrize("name", [HOST, NAME])
def test_ssh_keygen_finds_the_same_keys_in_each_file(tmp_path: Path, name: str) -> None:
    chance = random.Random(name)  # noqa: S311 (a seed is the point)
    files = KnownHostsFiles(tmp_path, chance, (HOST, NAME, "gate.example"), None)
    path = tmp_path / "known_hosts"
    found = 0
    for _ in range(FILES // 2):
        path.write_bytes(files())
        port = 22 if name == HOST else PORT
        ours = KnownHost(HOST, port, "", [path]).entries
        expected = found_by_ssh_keygen(path, name)
        found_here = [(e.line, e.marker.value, known_hosts.fingerprint(e.blob)) for e in ours]
        assert found_here == expected, path.read_bytes()
        found += len(expected)
    assert found > FILES // 4


def verdict(text: str, key: bytes, *, host: str = HOST, port: int = 22, alias: str = "") -> Verdict:
    path = Path("known_hosts").absolute()
    path.write_text(text)
    return KnownHost(host, port, alias, [path.with_name("none"), path]).verdict(key)


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.chdir(tmp_path)
    return [keygen(tmp_path / "a"), keygen(tmp_path / "b"), keygen(tmp_path / "c", "rsa")]


def test_each_key_of_a_host_is_known_and_another_is_a_change(keys: list[Path]) -> None:
    old, new, rsa = keys
    text = f"{HOST} {old.read_text()}{HOST} {rsa.read_text()}"
    assert verdict(text, blob(old)) is Verdict.KNOWN
    assert verdict(text, blob(rsa)) is Verdict.KNOWN
    assert verdict(text, blob(new)) is Verdict.CHANGED
    assert verdict(f"{HOST} {rsa.read_text()}", blob(new)) is Verdict.CHANGED
    assert verdict("", blob(new)) is Verdict.NEW


def test_a_pattern_names_a_host_unless_it_is_left_out(keys: list[Path]) -> None:
    own, other, _ = keys
    assert verdict(f"*.example {own.read_text()}", blob(other)) is Verdict.CHANGED
    assert verdict(f"*.example {own.read_text()}", blob(own)) is Verdict.KNOWN
    assert verdict(f"!board.*,*.example {own.read_text()}", blob(own)) is Verdict.NEW


def test_a_revoked_key_is_refused_though_it_is_known_too(keys: list[Path]) -> None:
    own, other, _ = keys
    text = f"@revoked * {own.read_text()}{HOST} {own.read_text()}"
    assert verdict(text, blob(own)) is Verdict.REVOKED
    assert verdict(text, blob(other)) is Verdict.CHANGED
    assert verdict(f"@revoked * {own.read_text()}", blob(other)) is Verdict.NEW


def test_an_authoritys_key_is_no_hosts_key(keys: list[Path]) -> None:
    assert verdict(f"@cert-authority * {keys[0].read_text()}", blob(keys[0])) is Verdict.NEW


def test_why_an_authority_does_not_vouch_is_said(keys: list[Path]) -> None:
    own, other, _ = keys
    process.run(["ssh-keygen", "-q", "-s", "a", "-h", "-I", "x", "-n", "gate", other])
    shown = blob(Path("b-cert.pub"))
    path = Path("known_hosts").absolute()
    words = {
        f"{HOST} {own.read_text()}": "",
        f"@cert-authority * {own.read_text()}": "its certificate does not hold: it is for gate",
        f"@cert-authority * {other.read_text()}": "its certificate is of another authority than "
        "the one that is known for it",
    }
    for text, expected in words.items():
        path.write_text(text)
        assert KnownHost(HOST, 22, "", [path]).doubt(shown) == expected
    assert "shows no certificate" in KnownHost(HOST, 22, "", [path]).doubt(b"")
    assert KnownHost("gate", 22, "", [path]).verdict(blob(other), shown) is Verdict.NEW
    path.write_text(f"@cert-authority * {own.read_text()}")
    assert KnownHost("gate", 22, "", [path]).verdict(blob(other), shown) is Verdict.KNOWN


def test_another_port_is_another_host_whose_mere_name_may_know_it(keys: list[Path]) -> None:
    own, other, _ = keys
    text = f"{HOST} {own.read_text()}"
    assert verdict(text, blob(own), port=PORT) is Verdict.KNOWN
    assert verdict(text, blob(other), port=PORT) is Verdict.NEW
    assert verdict(f"{NAME} {own.read_text()}", blob(own)) is Verdict.NEW
    assert verdict(f"{NAME} {own.read_text()}", blob(own), port=PORT) is Verdict.KNOWN


def test_an_alias_is_looked_for_instead_and_without_a_port(keys: list[Path]) -> None:
    own = keys[0]
    assert verdict(f"shelf {own.read_text()}", blob(own), port=PORT, alias="shelf") is Verdict.KNOWN
    assert verdict(f"{HOST} {own.read_text()}", blob(own), alias="shelf") is Verdict.NEW


def test_the_types_that_are_known_are_asked_for_first(keys: list[Path]) -> None:
    path = Path("known_hosts").absolute()
    path.write_text(f"{HOST} {keys[2].read_text()}")
    host = KnownHost(HOST, 22, "", [path])
    assert host.preferred(KEYS)[:2] == ("rsa-sha2-512", "rsa-sha2-256")
    assert set(host.preferred(KEYS)) == set(KEYS)
    path.write_text(f"{HOST} {keys[2].read_text()}{HOST} {keys[0].read_text()}")
    assert KnownHost(HOST, 22, "", [path]).preferred(KEYS) == KEYS
    path.write_text(f"@cert-authority * {keys[0].read_text()}")
    assert KnownHost(HOST, 22, "", [path]).preferred(KEYS)[0] == "ssh-ed25519-cert-v01@openssh.com"


@pytest.mark.parametrize("before", ["", "gate ssh-ed25519 AAAA", "gate ssh-ed25519 AAAA\n"])
def test_a_line_that_is_added_begins_one(tmp_path: Path, before: str) -> None:
    path = tmp_path / "new folder" / "known_hosts"
    if before:
        path.parent.mkdir()
        path.write_text(before)
    key = paramiko.ECDSAKey.generate()
    known_hosts.add(path, known_hosts.line(NAME, key))
    lines = [*before.splitlines(), f"{NAME} {key.get_name()} {key.get_base64()}"]
    assert path.read_text() == "".join(f"{line}\n" for line in lines)
    assert before or stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_fingerprint_is_ssh_keygens(keys: list[Path]) -> None:
    printed = process.run(["ssh-keygen", "-l", "-f", keys[0]]).split()[1]
    assert known_hosts.fingerprint(blob(keys[0])) == printed
