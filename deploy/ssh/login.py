"""How a connection to a device is opened: algorithms, host keys, authentication.

A part of the seam `deploy.ssh.connection`, which alone uses it. A server whose key is unknown or
changed is refused before anything about the user is said.
"""

from __future__ import annotations

import logging
import os
import shlex
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko
from fabric import Config
from fabric import Connection as FabricConnection

from deploy.inventory.reading import Device
from toolchain.core.errors import ConnectionFailed, EdgewrightError, HostKeyError

CONNECT_LIMIT = 15.0
ANSWER_LIMIT = 30.0
KEEPALIVE = 10
UNANSWERED_MS = 30_000
COMPARE = (
    "compare that with what the board's own console says to\n"
    "    ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"
)
KNOWN_HOSTS = (Path("/etc/ssh/ssh_known_hosts"), Path("~/.ssh/known_hosts"))

_Stock = paramiko.Transport
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes256-ctr", "aes128-ctr")
MACS = tuple(m for m in _Stock._preferred_macs if "sha2" in m)  # noqa: SLF001 (what it can do)
KEX = tuple(k for k in _Stock._preferred_kex if "sha1" not in k)  # noqa: SLF001 (as above)
KEYS = tuple(k for k in _Stock._preferred_keys if k != "ssh-rsa")  # noqa: SLF001 (as above)

logging.getLogger("paramiko").addHandler(logging.NullHandler())


class _Transport(paramiko.Transport):  # type: ignore[misc]  # paramiko has no types
    """Paramiko's, without SHA-1 and CBC, and with strict key exchange demanded."""

    # Paramiko documents no other way to choose; the names are its own class attributes.
    _preferred_ciphers = CIPHERS
    _preferred_macs = MACS
    _preferred_kex = KEX
    _preferred_keys = KEYS
    _preferred_pubkeys = KEYS

    must_be_strict = True

    def start_client(self, event: object = None, timeout: float | None = None) -> None:
        super().start_client(event, timeout)
        if self.must_be_strict and not self.agreed_on_strict_kex:
            self.close()
            raise ConnectionFailed(
                "the ssh server does not know strict key exchange",
                detail="without it, someone on the way can take messages out (CVE-2023-48795)",
                resolution="update sshd (OpenSSH 9.6, Dropbear 2024.84 or a distribution's fix), "
                "or set `edgewright: {strict_kex: false}` for this host",
            )


class _LenientTransport(_Transport):
    must_be_strict = False


class _Policy(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]  # as above
    """What to do with a host that no key is known for.

    `strict` says which key was shown and how to check it; `accept-new` writes it down. A host that
    shows another key than the known one, of the same type or another, never comes here.
    """

    def __init__(self, device: Device) -> None:
        self.device = device

    def missing_host_key(
        self, _client: paramiko.SSHClient, hostname: str, key: paramiko.PKey
    ) -> None:
        shown = f"{hostname} shows {key.get_name()} {key.fingerprint}"
        if self.device.host_keys == "accept-new":
            _write_down(self.device, hostname, key)
            return
        raise HostKeyError(
            f"{self.device.name}: its host key is not known",
            detail=shown,
            resolution=f"{COMPARE}\nand, when they are the same:\n"
            f"    {_keyscan(self.device, hostname)}",
        )


def _write_down(device: Device, hostname: str, key: paramiko.PKey) -> None:
    path = (device.known_hosts or KNOWN_HOSTS[-1]).expanduser()
    line = f"{hostname} {key.get_name()} {key.get_base64()}\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # one write of a whole line: devices that are met at the same moment do not mix
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise HostKeyError(
            f"{device.name}: its host key can't be written to {path}", detail=str(error)
        ) from error


def open_fabric(device: Device) -> FabricConnection:
    """An open Fabric connection; the caller closes it.

    Raises:
        HostKeyError: the host key is unknown or changed.
        ConnectionFailed: no answer, no authentication, or no algorithm in common.
    """
    fabric = _prepare(device)
    try:
        with _explained(device):
            fabric.open()
            _keep_alive(fabric.client.get_transport())
    except BaseException:
        fabric.client.close()
        raise
    return fabric


def _prepare(device: Device) -> FabricConnection:
    config = Config(lazy=True)  # ~/.fabric.yaml could hold a password or turn forwarding on
    config.load_ssh_config()
    fabric = FabricConnection(
        device.host,
        user=device.user,
        port=device.port,
        config=config,
        forward_agent=False,
        connect_timeout=CONNECT_LIMIT,
        connect_kwargs=_login(device, [str(device.key_file)] if device.key_file else []),
    )
    hop = fabric
    while isinstance(hop.gateway, FabricConnection):
        hop = hop.gateway
        hop.forward_agent = False
        hop.connect_timeout = CONNECT_LIMIT
        hop.connect_kwargs = _login(device, hop.ssh_config.get("identityfile", []))
        _trust_known_hosts(hop.client, device)
    _trust_known_hosts(fabric.client, device)
    return fabric


def _login(device: Device, key_files: list[str]) -> dict[str, object]:
    return {
        "key_filename": key_files,
        "look_for_keys": not key_files,
        "allow_agent": True,
        "banner_timeout": ANSWER_LIMIT,
        "auth_timeout": ANSWER_LIMIT,
        "channel_timeout": ANSWER_LIMIT,
        "transport_factory": _Transport if device.strict_kex else _LenientTransport,
    }


def _trust_known_hosts(client: paramiko.SSHClient, device: Device) -> None:
    client.set_missing_host_key_policy(_Policy(device))
    for path in (device.known_hosts,) if device.known_hosts else KNOWN_HOSTS:
        try:
            client.load_system_host_keys(str(path.expanduser()))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise HostKeyError(
                f"{device.name}: {path} can't be read",
                detail=str(error),
                resolution="correct or remove that file",
            ) from error


@contextmanager
def _explained(device: Device) -> Iterator[None]:
    where = f"{device.host}:{device.port}" if device.port else device.host
    try:
        yield
    except EdgewrightError as error:
        if not error.brief.startswith(device.name):
            error.brief = f"{device.name}: {error.brief}"
        raise
    except paramiko.BadHostKeyException as error:
        name = f"[{device.host}]:{device.port}" if device.port not in (None, 22) else device.host
        file = device.known_hosts or KNOWN_HOSTS[-1]
        raise HostKeyError(
            f"{device.name}: its host key is not the one that is known",
            detail=f"known {error.expected_key.get_name()} {error.expected_key.fingerprint}\n"
            f"shown {error.key.get_name()} {error.key.fingerprint}",
            resolution="another machine may be answering in its place. If the board was installed "
            "anew, compare on its own console:\n"
            "    ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub\nand then:\n    "
            + shlex.join(["ssh-keygen", "-R", name, "-f", str(file)])
            + f"\n    {_keyscan(device, name)}",
        ) from error
    except paramiko.PasswordRequiredException as error:
        raise ConnectionFailed(
            f"{device.name}: its key file has a passphrase",
            resolution=f"give the key to the agent: ssh-add {device.key_file or ''}".strip(),
        ) from error
    except paramiko.AuthenticationException as error:
        raise ConnectionFailed(
            f"{device.name}: the device did not let us in",
            detail=str(error),
            resolution="put the public key there: "
            f"ssh-copy-id{f' -p {device.port}' if device.port else ''} "
            f"{f'{device.user}@' if device.user else ''}{device.host}",
        ) from error
    except (paramiko.SSHException, OSError, EOFError, ValueError) as error:
        raise ConnectionFailed(
            f"{device.name}: no connection to {where}",
            detail=str(error) or type(error).__name__,
            resolution="is it switched on, in this network, and sshd running? "
            f"Try: ssh{f' -p {device.port}' if device.port else ''} {device.host} true",
        ) from error


def _keep_alive(transport: paramiko.Transport) -> None:
    """Let a link on which nothing is answered any more end, whatever waits on it."""
    transport.set_keepalive(KEEPALIVE)
    if isinstance(transport.sock, socket.socket) and hasattr(socket, "TCP_USER_TIMEOUT"):
        transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED_MS)


def _keyscan(device: Device, hostname: str) -> str:
    host, _, port = hostname.rpartition(":") if hostname.startswith("[") else (hostname, "", "")
    args = ["ssh-keyscan", "-t", "ed25519", *(["-p", port] if port else []), host.strip("[]")]
    return f"{shlex.join(args)} >> {device.known_hosts or KNOWN_HOSTS[-1]}"
