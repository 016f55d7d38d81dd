"""How a connection to a device is opened: the way there, algorithms, authentication.

A part of the seam `deploy.ssh.connection`, which alone uses it. A server whose key is unknown or
changed is refused before anything about the user is said (`host_key_policy`).
"""

from __future__ import annotations

import functools
import logging
import os
import random
import shlex
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import paramiko
from fabric import Config
from fabric import Connection as FabricConnection

from deploy.inventory.reading import Device
from deploy.ssh.destination import Destination, resolve
from deploy.ssh.host_key_policy import Policy
from deploy.ssh.known_hosts import KnownHost
from toolchain.core import process
from toolchain.core.errors import ConnectionFailed, EdgewrightError, HostKeyError

CONNECT_LIMIT = 15.0
ANSWER_LIMIT = 30.0
KEEPALIVE = 10
UNANSWERED_MS = 30_000
# seconds before each further try at a server that closed before its first word: nothing was said
AGAIN_AFTER = (0.1, 0.4, 1.0)
# paramiko's words for it; there is no class
NO_KEY = "No authentication methods available"

_Stock = paramiko.Transport
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes256-ctr", "aes128-ctr")
MACS = tuple(m for m in _Stock._preferred_macs if "sha2" in m)  # noqa: SLF001 (what it can do)
KEX = tuple(k for k in _Stock._preferred_kex if "sha1" not in k)  # noqa: SLF001 (as above)
KEYS = tuple(k for k in _Stock._preferred_keys if k != "ssh-rsa")  # noqa: SLF001 (as above)

logging.getLogger("paramiko").addHandler(logging.NullHandler())


class _Transport(paramiko.Transport):  # type: ignore[misc]  # paramiko has no types
    """Paramiko's, without SHA-1 and CBC, and with strict key exchange demanded.

    Args:
        sock: what carries it.
        disabled_algorithms: of paramiko's own.
        host_keys: algorithms for host keys, the best first.
        must_be_strict: whether a server without strict key exchange is refused.
    """

    # Paramiko documents no other way to choose; the names are its own class attributes.
    _preferred_ciphers = CIPHERS
    _preferred_macs = MACS
    _preferred_kex = KEX
    _preferred_pubkeys = KEYS

    def __init__(
        self,
        sock: object,
        *,
        disabled_algorithms: object,
        host_keys: tuple[str, ...],
        must_be_strict: bool,
    ) -> None:
        self._preferred_keys = host_keys
        self.must_be_strict = must_be_strict
        super().__init__(sock, disabled_algorithms=disabled_algorithms)

    def start_client(self, event: object = None, timeout: float | None = None) -> None:
        try:
            super().start_client(event, timeout)
        except (paramiko.SSHException, OSError, EOFError) as error:
            ended = (EOFError, ConnectionError)
            by_its_end = isinstance(error, ended) or isinstance(error.__context__, ended)
            if by_its_end and not self.remote_version:
                raise ConnectionResetError("the server closed before its first word") from error
            raise
        if not self.initial_kex_done:
            # paramiko only stops waiting
            raise paramiko.SSHException(f"no key was exchanged within {timeout:.0f} s")
        if self.must_be_strict and not self.agreed_on_strict_kex:
            self.close()
            raise ConnectionFailed(
                "the ssh server does not know strict key exchange",
                detail="without it, someone on the way can take messages out (CVE-2023-48795)",
                resolution="update sshd (OpenSSH 9.6, Dropbear 2024.84 or a distribution's fix), "
                "or set `edgewright: {strict_kex: false}` for this host",
            )


def open_fabric(device: Device) -> FabricConnection:
    """An open Fabric connection; the caller closes it by `close`.

    Raises:
        HostKeyError: the host key is unknown, changed or revoked.
        ConnectionFailed: no answer, no authentication, or no algorithm in common; of the device, or
            of a host on the way, which is named then.
    """
    return _open(device, resolve(device), device.name)


def close(fabric: FabricConnection) -> None:
    """Close a connection and those that it goes over."""
    hop: object = fabric
    while isinstance(hop, FabricConnection):
        # over a dead link closing fails too, and there is nothing left to close
        with suppress(OSError, EOFError):
            hop.client.close()
        hop = hop.gateway


def _open(device: Device, destination: Destination, who: str) -> FabricConnection:
    """Connect to a host, and first to those it is reached over.

    Args:
        device: for whose sake.
        destination: the host.
        who: what messages call it.
    """
    if destination.through is None:
        return _open_over(None, device, destination, who)
    jump = f"{device.name}: jump host {destination.through.name}"
    gateway = _open(device, destination.through, jump)
    try:
        return _open_over(gateway, device, destination, who)
    except BaseException:
        close(gateway)
        raise


def _open_over(
    gateway: FabricConnection | None, device: Device, destination: Destination, who: str
) -> FabricConnection:
    for pause in AGAIN_AFTER:
        try:
            return _try_over(gateway, device, destination, who)
        except ConnectionFailed as error:
            # one does so that has too many (MaxStartups), or can't start a process now
            if destination.command or not isinstance(error.__cause__, ConnectionResetError):
                raise
        # not in step with others that were turned away at the same moment
        time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 (nothing secret)
    return _try_over(gateway, device, destination, who)


def _try_over(
    gateway: FabricConnection | None, device: Device, destination: Destination, who: str
) -> FabricConnection:
    fabric = _prepare(device, destination, who)
    carrier = None
    try:
        with _explained(device, destination, who):
            fabric.connect_kwargs["sock"] = carrier = _carrier(destination, gateway)
            _log_in(fabric)
            _keep_alive(fabric.client.get_transport())
    except BaseException as error:
        fabric.client.close()
        if isinstance(carrier, process.CommandSocket) and isinstance(error, EdgewrightError):
            error.detail = f"{error.detail}\n{carrier.errors()}".strip()
        raise
    # only now: Fabric would go over it by itself, and by its own reading of names
    fabric.gateway = gateway
    return fabric


class _NoKeyError(Exception):
    """There is no key to log in with, neither a file nor in the agent."""


def _log_in(fabric: FabricConnection) -> None:
    try:
        fabric.open()
    except paramiko.SSHException as error:
        if str(error) == NO_KEY:
            raise _NoKeyError("no key file is there, and the agent has no key") from error
        raise


def _prepare(device: Device, destination: Destination, who: str) -> FabricConnection:
    try:
        known = KnownHost(
            destination.host, destination.port, destination.alias, destination.known_hosts
        )
    except OSError as error:
        raise HostKeyError(
            f"{who}: {error.filename} can't be read",
            detail=str(error),
            resolution="correct or remove that file",
        ) from error
    fabric = FabricConnection(
        device.name,
        user=destination.user,
        port=destination.port,
        config=Config(lazy=True),  # ~/.fabric.yaml could hold a password or turn forwarding on
        forward_agent=False,
        connect_timeout=CONNECT_LIMIT,
        connect_kwargs={
            "key_filename": [str(p) for p in destination.key_files if p.is_file()],
            "look_for_keys": False,
            "allow_agent": True,
            "banner_timeout": ANSWER_LIMIT,
            "auth_timeout": ANSWER_LIMIT,
            "channel_timeout": ANSWER_LIMIT,
            "transport_factory": functools.partial(
                _Transport, host_keys=known.preferred(KEYS), must_be_strict=device.strict_kex
            ),
        },
    )
    # as it is: Fabric reads an address with a zone as a name with tokens
    fabric.host = destination.host
    fabric.client.set_missing_host_key_policy(Policy(device, who, destination, known))
    return fabric


def _carrier(destination: Destination, gateway: FabricConnection | None) -> object:
    """What the connection goes over: a channel of the jump host, or else a socket."""
    if gateway is not None:
        transport = gateway.client.get_transport()
        there = (destination.host, destination.port)
        return transport.open_channel("direct-tcpip", there, ("", 0), timeout=CONNECT_LIMIT)
    if destination.command:
        shell = os.environ.get("SHELL", "/bin/sh")
        return process.CommandSocket([shell, "-c", f"exec {destination.command}"])
    return _dial(destination)


def _dial(destination: Destination) -> socket.socket:
    """Connect to the first of a host's addresses that answers."""
    failure = OSError(f"{destination.host} has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(
        destination.host, destination.port, destination.family, socket.SOCK_STREAM
    ):
        trial = socket.socket(family, kind, protocol)
        try:
            trial.settimeout(CONNECT_LIMIT)
            trial.connect(address)
        except OSError as error:
            trial.close()
            failure = error
        else:
            return trial
    raise failure


@contextmanager
def _explained(device: Device, destination: Destination, who: str) -> Iterator[None]:
    try:
        yield
    except EdgewrightError as error:
        if not error.brief.startswith(who):
            error.brief = f"{who}: {error.brief}"
        raise
    except paramiko.PasswordRequiredException as error:
        raise ConnectionFailed(
            f"{who}: its key file has a passphrase",
            resolution=f"give the key to the agent: ssh-add {device.key_file or ''}".strip(),
        ) from error
    except (paramiko.AuthenticationException, _NoKeyError) as error:
        own = device.key_file if who == device.name else None
        port = ["-p", str(destination.port)] if "-p" in destination.asked else []
        raise ConnectionFailed(
            f"{who}: {'the device' if who == device.name else 'it'} did not let us in",
            detail=str(error),
            resolution="put the public key there: "
            + shlex.join(
                [
                    "ssh-copy-id", *(["-i", str(own)] if own else []), *port,
                    f"{destination.user}@{destination.name}",
                ]
            ),
        ) from error  # fmt: skip
    except paramiko.ChannelException as error:
        assert destination.through is not None
        raise ConnectionFailed(
            f"{device.name}: jump host {destination.through.name} does not reach {destination}",
            detail=str(error),
            resolution="is the board switched on and in that host's network, and does its sshd "
            "allow AllowTcpForwarding? Try there: "
            + shlex.join(["ssh", "-p", str(destination.port), destination.host, "true"]),
        ) from error
    except (paramiko.SSHException, OSError, EOFError, ValueError) as error:
        raise ConnectionFailed(
            f"{who}: no connection to {destination}",
            detail=str(error) or type(error).__name__,
            resolution=f"it may be off: invoke emulator.start --name {device.name}"
            if device.emulated
            else "is it switched on, in this network, and sshd running? Try: "
            + shlex.join(["ssh", *destination.asked, "true"]),
        ) from error


def _keep_alive(transport: paramiko.Transport) -> None:
    """Let a link on which nothing is answered any more end, whatever waits on it."""
    transport.set_keepalive(KEEPALIVE)
    over_tcp = getattr(transport.sock, "family", None) in (socket.AF_INET, socket.AF_INET6)
    if over_tcp and hasattr(socket, "TCP_USER_TIMEOUT"):
        transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED_MS)
