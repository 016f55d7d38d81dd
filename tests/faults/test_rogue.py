"""Servers that are not the device: each is refused, and hears nothing about who asked.

A rogue is paramiko's server end, as old and as wrong as it is told to be; or, for algorithms that
paramiko itself has no more, a socket that offers them.
"""

from __future__ import annotations

import dataclasses
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import paramiko
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deploy.inventory.reading import Device
from deploy.ssh import connection
from toolchain.core.errors import ConnectionFailed, HostKeyError

# RFC 4250: user authentication has 50 to 79; its service is asked for by 5
AUTHENTICATION = {5, *range(50, 80)}
KEXINIT = 20


class Rogue:
    """A server on 127.0.0.1; `heard` are the messages about authentication that reached it.

    Args:
        key: its host key.
        options: of paramiko's Transport.
    """

    def __init__(self, key: paramiko.PKey, **options: Any) -> None:
        self.key, self.options = key, options
        self.heard: list[int] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.transports: list[paramiko.Transport] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                link, _ = self.listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(link, **self.options)
            self.transports.append(transport)
            transport.add_server_key(self.key)
            transport.packetizer.read_message = self._counted(transport.packetizer.read_message)
            with suppress(paramiko.SSHException, OSError, EOFError):
                transport.start_server(server=paramiko.ServerInterface())

    def _counted(self, read: Callable[[], tuple[int, Any]]) -> Callable[[], tuple[int, Any]]:
        def counted() -> tuple[int, Any]:
            kind, message = read()
            if kind in AUTHENTICATION:
                self.heard.append(kind)
            return kind, message

        return counted

    def close(self) -> None:
        self.listener.close()
        for transport in self.transports:
            transport.close()


class Offering:
    """A socket that offers algorithms and reads what comes then."""

    def __init__(self, kex: str, key: str, cipher: str, mac: str) -> None:
        names = [kex, key, cipher, cipher, mac, mac, "none", "none", "", ""]
        body = bytes([KEXINIT]) + bytes(16)
        body += b"".join(struct.pack(">I", len(n)) + n.encode() for n in names) + bytes(5)
        padding = 8 - (len(body) + 5) % 8 + 8
        self.packet = struct.pack(">IB", len(body) + padding + 1, padding) + body + bytes(padding)
        self.heard = b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        link, _ = self.listener.accept()
        with link, suppress(OSError):
            link.sendall(b"SSH-2.0-Old\r\n" + self.packet)
            while piece := link.recv(1 << 16):
                self.heard += piece

    def close(self) -> None:
        self.listener.close()


def host_key(kind: str) -> paramiko.PKey:
    if kind == "ecdsa":
        return paramiko.ECDSAKey.generate()
    if kind == "rsa":
        return paramiko.RSAKey.generate(2048)
    return paramiko.Ed25519Key.from_private_key(_pem())


def _pem() -> Any:
    import io

    return io.StringIO(
        Ed25519PrivateKey.generate()
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
        .decode()
    )


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    key = tmp_path / "user_key"
    key.write_text(_pem().getvalue())
    key.chmod(0o600)
    (tmp_path / "known_hosts").write_text("")
    return Device(
        name="board", host="127.0.0.1", target="rv64gc", user="secret-user", key_file=key,
        known_hosts=tmp_path / "known_hosts",
    )  # fmt: skip


@pytest.fixture
def rogues() -> Iterator[list[Any]]:
    made: list[Any] = []
    yield made
    for rogue in made:
        rogue.close()


def know(device: Device, port: int, key: paramiko.PKey, *, hashed: bool = False) -> None:
    assert device.known_hosts is not None
    name = f"[127.0.0.1]:{port}"
    name = paramiko.HostKeys.hash_host(name) if hashed else name
    with device.known_hosts.open("a") as stream:
        stream.write(f"{name} {key.get_name()} {key.get_base64()}\n")


def refused(device: Device, port: int, kind: type[Exception], words: str) -> None:
    elsewhere = dataclasses.replace(device, port=port)
    with pytest.raises(kind, match=words), connection.connect(elsewhere):
        pass


CHANGED = "not the one that is known"


@pytest.mark.parametrize("policy", ["strict", "accept-new"])
@pytest.mark.parametrize("hashed", [False, True])
@pytest.mark.parametrize("known", ["ed25519", "ecdsa", "rsa"])
@pytest.mark.parametrize("shown", ["ed25519", "ecdsa", "rsa"])
def test_a_server_with_another_key_hears_nothing(
    device: Device, rogues: list[Any], policy: str, known: str, shown: str, hashed: bool
) -> None:
    """All pairs of a known key and the one that is shown, of one type and of two."""
    rogue = Rogue(host_key(shown))
    rogues.append(rogue)
    know(device, rogue.port, host_key(known), hashed=hashed)
    assert device.known_hosts is not None
    before = device.known_hosts.read_text()
    refused(dataclasses.replace(device, host_keys=policy), rogue.port, HostKeyError, CHANGED)
    assert rogue.heard == []
    assert device.known_hosts.read_text() == before


def test_an_unknown_server_hears_nothing_and_is_not_written_down(
    device: Device, rogues: list[Any]
) -> None:
    rogue = Rogue(host_key("ed25519"))
    rogues.append(rogue)
    refused(device, rogue.port, HostKeyError, "its host key is not known")
    assert rogue.heard == []
    assert device.known_hosts is not None
    assert device.known_hosts.read_text() == ""


def test_accept_new_takes_the_first_key_and_no_other(device: Device, rogues: list[Any]) -> None:
    """The control: a server that is let through does hear of us."""
    trusting = dataclasses.replace(device, host_keys="accept-new")
    first = Rogue(host_key("ed25519"))
    rogues.append(first)
    refused(trusting, first.port, ConnectionFailed, "did not let us in")
    assert first.heard
    assert device.known_hosts is not None
    (line,) = device.known_hosts.read_text().splitlines()
    assert line.split() == [
        f"[127.0.0.1]:{first.port}", "ssh-ed25519", first.key.get_base64()
    ]  # fmt: skip
    first.key = host_key("ed25519")
    count = len(first.heard)
    refused(trusting, first.port, HostKeyError, CHANGED)
    assert len(first.heard) == count


def test_a_server_without_strict_key_exchange_hears_nothing(
    device: Device, rogues: list[Any]
) -> None:
    rogue = Rogue(host_key("ed25519"), strict_kex=False)
    rogues.append(rogue)
    know(device, rogue.port, rogue.key)
    refused(device, rogue.port, ConnectionFailed, "strict key exchange")
    assert rogue.heard == []
    lenient = dataclasses.replace(device, strict_kex=False)
    refused(lenient, rogue.port, ConnectionFailed, "did not let us in")
    assert rogue.heard
    assert "strict key exchange" in lenient.exceptions()[0]


OLD = {
    "SHA-1 in the key exchange": ("diffie-hellman-group14-sha1", "ssh-ed25519", "aes256-ctr",
                                  "hmac-sha2-256"),
    "SHA-1 and 1024 bits": ("diffie-hellman-group1-sha1", "ssh-ed25519", "aes256-ctr",
                            "hmac-sha2-256"),
    "SHA-1, group exchange": ("diffie-hellman-group-exchange-sha1", "ssh-ed25519", "aes256-ctr",
                              "hmac-sha2-256"),
    "an RSA key with SHA-1": ("curve25519-sha256@libssh.org", "ssh-rsa", "aes256-ctr",
                              "hmac-sha2-256"),
    "a DSA key": ("curve25519-sha256@libssh.org", "ssh-dss", "aes256-ctr", "hmac-sha2-256"),
    "SHA-1 in the MAC": ("curve25519-sha256@libssh.org", "ssh-ed25519", "aes256-ctr", "hmac-sha1"),
    "SHA-1 in a short MAC": ("curve25519-sha256@libssh.org", "ssh-ed25519", "aes256-ctr",
                             "hmac-sha1-96"),
    "MD5": ("curve25519-sha256@libssh.org", "ssh-ed25519", "aes256-ctr", "hmac-md5"),
    "CBC": ("curve25519-sha256@libssh.org", "ssh-ed25519", "aes256-cbc", "hmac-sha2-256"),
    "3DES": ("curve25519-sha256@libssh.org", "ssh-ed25519", "3des-cbc", "hmac-sha2-256"),
    "no cipher": ("curve25519-sha256@libssh.org", "ssh-ed25519", "none", "hmac-sha2-256"),
}  # fmt: skip


@pytest.mark.parametrize("what", OLD)
def test_a_server_that_knows_only_old_algorithms_is_refused(
    device: Device, rogues: list[Any], what: str
) -> None:
    rogue = Offering(*OLD[what])
    rogues.append(rogue)
    elsewhere = dataclasses.replace(device, port=rogue.port)
    with pytest.raises(ConnectionFailed, match="no connection to") as caught:
        connection.connect(elsewhere).__enter__()
    assert "Incompatible ssh" in caught.value.detail
    rogue.thread.join(10)
    # after our own offer nothing came: no key exchange, so nothing of who asks
    assert b"secret-user" not in rogue.heard
    assert rogue.heard.startswith(b"SSH-2.0-")
