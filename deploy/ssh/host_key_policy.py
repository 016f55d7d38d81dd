"""Whether the key that a host shows is taken, and what its owner is told when it is not.

`known_hosts` says what is known; here is what follows from it, as with ssh's own
`StrictHostKeyChecking yes` and `accept-new`. What is printed to be pasted works when it is pasted.
"""

from __future__ import annotations

import functools
import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path

import paramiko

from deploy.inventory.reading import Device
from deploy.ssh import known_hosts
from deploy.ssh.destination import Destination
from deploy.ssh.known_hosts import KnownHost, Verdict
from toolchain.core import process
from toolchain.core.errors import CommandError, HostKeyError

PATTERN = frozenset("*?!,")


class UnknownHostKeyError(HostKeyError):
    """A host that no key is known for, and the key that it shows.

    Args:
        brief, detail, resolution: as of every error.
        fingerprint: of the key, as ssh-keygen prints it: SHA256:…
        compare: how its owner sees on the host itself what it should be.
        write_down: makes the key known; raises HostKeyError when it can't be written.
    """

    def __init__(
        self,
        brief: str,
        *,
        detail: str,
        resolution: str,
        fingerprint: str,
        compare: str,
        write_down: Callable[[], None],
    ) -> None:
        super().__init__(brief, detail=detail, resolution=resolution)
        self.fingerprint, self.compare, self.write_down = fingerprint, compare, write_down


class Policy(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]  # paramiko has no types
    """Asked with every key that a host shows: paramiko itself is given none that are known.

    Args:
        device: for whose sake the host is reached.
        who: what messages call the host: the device, or the host that is jumped over.
        destination: how it is reached.
        known: what is known of it.
    """

    def __init__(
        self, device: Device, who: str, destination: Destination, known: KnownHost
    ) -> None:
        self.device, self.who = device, who
        self.destination, self.known = destination, known

    def missing_host_key(
        self, _client: paramiko.SSHClient, _hostname: str, key: paramiko.PKey
    ) -> None:
        """Return when the key is taken.

        Raises:
            HostKeyError: it is not.
        """
        if self.destination.revoked is not None:
            self._ask_revoked(self.destination.revoked, key)
        certificate = key.public_blob.key_blob if key.public_blob else b""
        verdict = self.known.verdict(key.asbytes(), certificate)
        if verdict is Verdict.KNOWN:
            return
        if verdict is Verdict.REVOKED:
            raise self._revoked(key)
        if verdict is Verdict.CHANGED:
            raise self._changed(key)
        if self.device.host_keys == "accept-new":
            self._write_down(key)
            return
        doubt = self.known.doubt(certificate)
        raise UnknownHostKeyError(
            f"{self.who}: its host key is not known",
            detail=f"{self.known.name} shows {_shown(key)}\n{doubt}".strip(),
            resolution=f"{_compare(key)}\nand, when they are the same:\n    {self._append(key)}",
            fingerprint=known_hosts.fingerprint(key.asbytes()),
            compare=_compare(key),
            write_down=functools.partial(self._write_down, key),
        )

    def _write_down(self, key: paramiko.PKey) -> None:
        path = self.destination.new_keys
        if path is None:
            return
        try:
            known_hosts.add(path, known_hosts.line(self.known.name, key))
        except OSError as error:
            raise HostKeyError(
                f"{self.who}: its host key can't be written to {path}", detail=str(error)
            ) from error

    def _changed(self, key: paramiko.PKey) -> HostKeyError:
        others = self.known.others()
        removals = [
            shlex.join(["ssh-keygen", "-R", self.known.name, "-f", str(path)])
            for path in dict.fromkeys(entry.path for entry in others)
        ]
        shared = [
            f"(line {entry.line} of {entry.path} goes for all that it names: {entry.names})"
            for entry in others
            if PATTERN & set(entry.names)
        ]
        return HostKeyError(
            f"{self.who}: its host key is not the one that is known",
            detail="\n".join([*(f"known {entry}" for entry in others), f"shown {_shown(key)}"]),
            resolution="another machine may be answering in its place. If it was installed anew, "
            + "\n    ".join([f"{_compare(key)}\nand then:", *removals, self._append(key)])
            + "".join(f"\n{line}" for line in shared),
        )

    def _revoked(self, key: paramiko.PKey) -> HostKeyError:
        lines = [f"revoked {entry}" for entry in self.known.revoked(key.asbytes())]
        return HostKeyError(
            f"{self.who}: its host key is revoked",
            detail="\n".join([*lines, f"shown {_shown(key)}"]),
            resolution="whoever has a copy of that key can answer in its place: give it a new one, "
            "on its own console: rm /etc/ssh/ssh_host_*_key*; ssh-keygen -A",
        )

    def _ask_revoked(self, revoked: Path, key: paramiko.PKey) -> None:
        """Ask ssh-keygen, which knows both forms of the file that RevokedHostKeys names."""
        with tempfile.NamedTemporaryFile("w", suffix=".pub") as shown:
            shown.write(f"{key.get_name()} {key.get_base64()}\n")
            shown.flush()
            try:
                process.run(["ssh-keygen", "-Q", "-f", str(revoked), shown.name])
            except CommandError as error:
                raise HostKeyError(
                    f"{self.who}: its host key is revoked, or {revoked} can't be read",
                    detail=f"{error.detail.strip()}\nshown {_shown(key)}",
                    resolution="ssh's configuration names that file as RevokedHostKeys",
                ) from error

    def _append(self, key: paramiko.PKey) -> str:
        """A shell's line that makes this very key known, whichever way the host is reached."""
        path = self.destination.new_keys
        if path is None:
            return (
                "# ssh's configuration keeps no key of it: give its entry a file, known_hosts: FILE"
            )
        form = "%s\\n" if known_hosts.ends_with_newline(path) else "\\n%s\\n"
        written = shlex.join(["printf", form, known_hosts.line(self.known.name, key)])
        folder = "" if path.parent.is_dir() else f"mkdir -p {shlex.quote(str(path.parent))} && "
        return f"{folder}{written} >> {shlex.quote(str(path))}"


def _shown(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {known_hosts.fingerprint(key.asbytes())}"


def _compare(key: paramiko.PKey) -> str:
    kind = "ecdsa" if key.get_name().startswith("ecdsa") else key.get_name().removeprefix("ssh-")
    return (
        "compare that with what the board's own console says to\n"
        f"    ssh-keygen -lf /etc/ssh/ssh_host_{kind}_key.pub"
    )
