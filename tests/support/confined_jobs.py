"""What a hostile file might make its reader do: each is tried in a worker, and what came of it."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from toolchain.core import confinement, process
from toolchain.core.confinement import Rights
from toolchain.core.errors import CommandError
from toolchain.core.worker import Job, Progress

DONE = "done"
OF_ROOT = "have root's capabilities"


@dataclass(frozen=True, kw_only=True)
class Attempts:
    """Where it is tried.

    Attributes:
        secret: a file that the reader needs nothing of.
        given: a file that it may read.
        folder: takes what it makes.
        port: of a server on 127.0.0.1.
        version: of Landlock, where the job is to confine itself; else the worker has, or nobody.
    """

    secret: Path
    given: Path
    folder: Path
    port: int
    version: int | None = None


def attempt(request: Attempts, _progress: Progress) -> dict[str, str]:
    """Try everything; the answer has `done` or the error's class by what was tried."""
    if request.version is not None:
        answers = Path(sys.argv[1]).parent
        rights = Rights(read=(request.given,), write=(request.folder, answers))
        confinement.confine(rights, version=request.version)
    return {name: _tried(partial(act, request)) for name, act in ATTEMPTS.items()}


def variables(_request: bool, _progress: Progress) -> list[str]:
    """The names of the variables that it has: those that it was started with."""
    started = Path("/proc/self/environ").read_bytes().split(b"\0")
    return [line.partition(b"=")[0].decode() for line in started]


VARIABLES = Job("tests.support.confined_jobs:variables", bool, list[str])
ATTEMPT = Job("tests.support.confined_jobs:attempt", Attempts, dict[str, str])


def _tried(act: Callable[[], object]) -> str:
    try:
        act()
    except (OSError, CommandError) as error:
        return type(error).__name__
    return DONE


def _send(port: int) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as datagram:
        datagram.sendto(b"theirs", ("127.0.0.1", port))


def _has_capabilities(_request: Attempts) -> None:
    line = process.run(["grep", "CapEff", "/proc/self/status"]).split()[1]
    if int(line, 16) & ~confinement.CAP_DAC_OVERRIDE == 0:
        raise PermissionError


ALLOWED: dict[str, Callable[[Attempts], object]] = {
    "read what is given": lambda r: r.given.read_text(),
    "write a result": lambda r: (r.folder / "result").write_text("ours"),
    "rename a result": lambda r: (r.folder / "result").rename(r.folder / "renamed"),
    "throw away": lambda r: Path("/dev/null").write_text("x"),
    "take random bytes": lambda r: os.urandom(1),
    "start a program": lambda r: process.run(["true"]),
    "a pair of sockets of its own": lambda r: socket.socketpair(),
}
REFUSED: dict[str, Callable[[Attempts], object]] = {
    "read a secret": lambda r: r.secret.read_text(),
    "list its folder": lambda r: list(r.secret.parent.iterdir()),
    "read it by a program": lambda r: process.run(["cat", str(r.secret)]),
    "write over it": lambda r: r.secret.write_text("theirs"),
    "write beside it": lambda r: (r.secret.parent / "authorized_keys").write_text("theirs"),
    "cut it short": lambda r: os.truncate(r.secret, 0),
    "open it to others": lambda r: r.secret.chmod(0o777),
    "link to it": lambda r: (r.folder / "link").symlink_to(r.secret),
    "give it another name": lambda r: (r.folder / "hard").hardlink_to(r.secret),
    "write to what is given": lambda r: r.given.write_text("theirs"),
    "write beside its folder": lambda r: (r.folder.parent / "theirs").write_text("theirs"),
    "connect": lambda r: socket.create_connection(("127.0.0.1", r.port), 1),
    "send a datagram": lambda r: _send(r.port),
    "ask a service of this machine": lambda r: socket.socket(socket.AF_UNIX),
    "read the memory of who asked": lambda r: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
    OF_ROOT: _has_capabilities,
    "remove it": lambda r: r.secret.unlink(),
}
SIGNALLING: dict[str, Callable[[Attempts], object]] = {
    "signal who asked": lambda r: os.kill(os.getppid(), 0),
}
ATTEMPTS = {**ALLOWED, **REFUSED, **SIGNALLING}
