"""What is taken away from a device by name: a release, a key that signs releases."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from deploy.release.deployment import folder_of, whoami
from deploy.release.plan import Removed, Trusted
from deploy.release.shell.sessions import open_session
from deploy.ssh.connection import Connection
from deploy.ssh.known_hosts import fingerprint
from toolchain.core import signing
from toolchain.core.errors import UsageError


def remove_release(conn: Connection, named: str, *, previous: bool) -> Removed:
    """Remove a release from a device, and the files that no other release there needs.

    Args:
        conn: an open connection.
        named: its folder's name there, or how its id begins.
        previous: whether the one that a rollback goes back to may go.

    Raises:
        UsageError: the device has no such release, or several.
        DeviceRefused: another deployment or a measurement is under way.
        ReleaseError: it runs, or is the previous one and that was not said.
        ConnectionFailed: the link dropped.
    """
    with open_session(conn) as session:
        session.lock(whoami())
        folder = folder_of(session, named)
        session.remove(folder, previous=previous)
    return Removed(folder=folder)


def trusted(conn: Connection) -> Trusted:
    """The keys whose releases a device takes; none means that it takes any.

    Raises:
        DeviceRefused: its Python does not run our program.
        ConnectionFailed: the link dropped.
    """
    with open_session(conn) as session:
        return Trusted(keys={print_of(line): line for line in session.inspect().keys})


def remove_key(conn: Connection, named: str, own: str) -> Trusted:
    """Have a device take no more releases that a key signed.

    Args:
        conn: an open connection.
        named: the key's fingerprint (SHA256:…) or the key, `ssh-ed25519 …`.
        own: a key that stays, as `ssh-ed25519 …`; empty for none.

    Returns:
        what it trusts then.

    Raises:
        UsageError: it does not trust that key, or the key is the one that stays.
        DeviceRefused: another deployment or a measurement is under way.
        ReleaseError: it is the only one.
        ConnectionFailed: the link dropped.
    """
    with open_session(conn) as session:
        session.lock(whoami())
        line = _named(session.name, named, session.inspect().keys)
        if own and signing.same_key(line, own):
            raise UsageError(
                f"{print_of(line)} is this machine's own key: {session.name} would take nothing "
                "more from here",
                resolution="--force removes it all the same",
            )
        session.distrust(line)
        return Trusted(keys={print_of(line): line for line in session.inspect().keys})


def print_of(line: str) -> str:
    """A public key's fingerprint, as ssh-keygen prints it; the line itself where it is none."""
    try:
        return fingerprint(base64.b64decode(line.split()[1], validate=True))
    except (IndexError, ValueError):
        return line


def _named(host: str, named: str, keys: Sequence[str]) -> str:
    for line in keys:
        if named == print_of(line) or signing.same_key(line, named):
            return line
    raise UsageError(
        f"{host} trusts no key {named}",
        detail="it trusts: " + (", ".join(map(print_of, keys)) or "none, and takes any release"),
        resolution=f"see: invoke keys --host {host} --show",
    )
