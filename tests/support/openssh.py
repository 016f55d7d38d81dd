"""OpenSSH's own client for tests: with a configuration of the test's, whatever the account has."""

from __future__ import annotations

import os
import random
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

import paramiko
import pytest

from toolchain.core import process


def configured(
    monkeypatch: pytest.MonkeyPatch, folder: Path, config: Path, name: str = "ssh"
) -> None:
    """Let `ssh` or `sftp` read this configuration."""
    monkeypatch.setenv("PATH", f"{wrapped(folder, config, name)}:{os.environ['PATH']}")


def wrapped(folder: Path, config: Path, name: str = "ssh") -> Path:
    """A folder for the PATH whose `ssh` or `sftp` reads this configuration.

    The program itself looks for one in the account's home, not in HOME.
    """
    program = shutil.which(name)
    assert program, "openssh-client is missing: apt-get install openssh-client"
    wrapper = folder / "bin" / name
    wrapper.parent.mkdir(parents=True)
    wrapper.write_text(f'#!/bin/sh\nexec {program} -F {shlex.quote(str(config))} "$@"\n')
    wrapper.chmod(0o755)
    return wrapper.parent


def none(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let there be no `ssh` at all."""
    (folder / "no-ssh").mkdir()
    monkeypatch.setenv("PATH", str(folder / "no-ssh"))


class KnownHostsFiles:
    """Makes files of known hosts as people and programs leave them, from a seed.

    Args:
        folder: where keys are made.
        chance: what decides.
        names: names of the host that the files are about, and of others.
        host_key: file of its public key; where none is given, one is made.
    """

    def __init__(
        self, folder: Path, chance: random.Random, names: Sequence[str], host_key: Path | None
    ) -> None:
        self.chance, self.names = chance, names
        kinds = ("ed25519", "ecdsa", "rsa", "ed25519")
        made = [keygen(folder / f"known-{i}", kind) for i, kind in enumerate(kinds)]
        self.own = (host_key or made[-1]).read_text().split()[:2]
        self.others = [path.read_text().split()[:2] for path in made[:3]]

    def __call__(self) -> bytes:
        """One file."""
        lines = [self._line() for _ in range(self.chance.randint(0, 7))]
        end = self.chance.choice([b"\n", b"\n", b"", b"\r\n", b"\n\n"])
        return b"\n".join(lines) + (end if lines else b"")

    def _line(self) -> bytes:
        chance = self.chance
        kind, key = chance.choice([self.own, self.own, *self.others])
        marker = chance.choices(
            ["", "@revoked ", "@cert-authority ", "@revoked\t", "@wrong ", "@revoked @revoked "],
            [12, 2, 2, 1, 1, 1],
        )[0]
        blank = chance.choice([" ", " ", " ", "\t", "  \t "])
        comment = chance.choice(["", " ann@desk", "\t# é", "\r", " "])
        line = f"{marker}{self._names()}{blank}{kind}{blank}{key}{comment}".encode()
        return chance.choices([line, self._damaged(line), b"# " + line, b""], [14, 3, 1, 1])[0]

    def _names(self) -> str:
        return ",".join(self._name() for _ in range(self.chance.choice([1, 1, 1, 2, 3])))

    def _name(self) -> str:
        name = self.chance.choice(self.names)
        wild = self.chance.randrange(len(name))
        found: str = self.chance.choice(
            [
                name, name, name, name, name.upper(), f"!{name}", "*", f"{name[:wild]}*",
                f"{name[:wild]}?{name[wild + 1 :]}", f"*{name[wild:]}", "", "[a-z]*",
                paramiko.HostKeys.hash_host(name), paramiko.HostKeys.hash_host(name)[:-3],
                f"[{name}]:22", "x" * 1100,
            ]
        )  # fmt: skip
        return found

    def _damaged(self, line: bytes) -> bytes:
        at = self.chance.randrange(len(line))
        return self.chance.choice(
            [
                line[:at], line[at:], line[:at] + b"\xff" + line[at:],
                line[:at] + b"=" + line[at + 1 :], line[:-8] + b"AAAA" + line[-4:],
                line.replace(b"ssh-ed25519", b"ssh-rsa", 1),
                line.replace(b"ssh-rsa", b"rsa-sha2-512", 1),
            ]
        )  # fmt: skip


def keygen(path: Path, kind: str = "ed25519") -> Path:
    """Make a key; returns the file of its public half."""
    kinds = ["-t", kind, *(["-b", "1024"] if kind == "rsa" else [])]
    process.run(["ssh-keygen", "-q", *kinds, "-N", "", "-C", "test", "-f", path])
    return path.with_suffix(".pub")
