"""A device without Python that is a folder of this machine: its agent runs in a shell of ours.

What it can run is what a busybox has, or a shell and Debian's programs. Instead of a connection's
channels there are processes; all else is the product's.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, cast

import pytest

from deploy.inventory.program import NONE, Program
from deploy.inventory.reading import Device
from deploy.release import deployment
from deploy.release.plan import Outcome, RolledBack
from deploy.ssh import stream_transfer
from deploy.ssh.connection import Connection
from tests.support import tools
from tests.support.bundles import make_bundle
from toolchain.bundle import by_python
from toolchain.core.errors import EdgewrightError
from toolchain.core.store import Store
from toolchain.lock import fetch
from toolchain.lock.pins import Pinned

SHELLS = ("busybox", "dash")


def programs(shell: str, folder: Path) -> str:
    """A PATH with the programs of a device whose `sh` is that one.

    Args:
        shell: one of `SHELLS`; the test is skipped when it can't be had.
        folder: where to put links to them; made.
    """
    folder.mkdir(parents=True)
    if shell == "busybox":
        subprocess.run([_busybox(folder.parent), "--install", "-s", folder], check=True)
        return str(folder)
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    (folder / "sh").symlink_to(found)
    return f"{folder}:/usr/bin:/bin"


def _busybox(folder: Path) -> str:
    installed = shutil.which("busybox")
    if installed is not None:
        return installed
    if os.uname().machine != "x86_64":
        pytest.skip("the pinned busybox is for x86-64")
    (pin,) = tools.pins("busybox-static")
    try:
        fetch.unpack(Pinned(**pin), Store(), folder / "busybox")
    except EdgewrightError as error:
        pytest.skip(f"busybox can't be had: {error.brief} ({error.detail})")
    return str(folder / "busybox/bin/busybox")


class Process:
    """A command of this machine, as `RemoteProcess` is one of a device."""

    def __init__(self, args: Sequence[str], home: Path, path: str) -> None:
        with (home / "errors").open("wb") as errors:
            self._run = subprocess.Popen(
                args,
                executable=shutil.which(args[0], path=path),
                cwd=home,
                env={"PATH": path, "HOME": str(home)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        self._home = home

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._run.wait()
        self.close_input()
        assert self._run.stdout is not None
        self._run.stdout.close()

    def write(self, content: bytes) -> None:
        assert self._run.stdin is not None
        with suppress(BrokenPipeError):
            self._run.stdin.write(content)
            self._run.stdin.flush()

    def close_input(self) -> None:
        assert self._run.stdin is not None
        with suppress(BrokenPipeError):
            self._run.stdin.close()

    def line(self, *, within: float | None = None) -> str | None:
        del within
        assert self._run.stdout is not None
        line = self._run.stdout.readline().decode()
        return line.removesuffix("\n") if line else None

    def lines(self) -> Iterator[str]:
        while (line := self.line()) is not None:
            yield line

    def wait(self) -> int:
        return self._run.wait()

    def errors(self) -> str:
        return (self._home / "errors").read_text()

    def kill(self) -> None:
        """As a lost link does: it, and what it started that is in its process group."""
        with suppress(ProcessLookupError):
            os.killpg(self._run.pid, signal.SIGKILL)


class Board:
    """The device: also stands for a connection to it.

    Attributes:
        home: of its login.
        hurt: what becomes of the bytes of a file on their way.
    """

    def __init__(self, home: Path, shell: str) -> None:
        self.home = home
        home.mkdir(parents=True)
        self.path = programs(shell, home / "bin")
        self.hurt: Callable[[bytes], bytes] = lambda content: content
        self.without_python = True
        self.started: list[Process] = []
        self.program = NONE

    @property
    def device(self) -> Device:
        """As an inventory would describe it."""
        return Device(
            name="board",
            host="board",
            target="rv64gc",
            python="none",
            root="~/root",
            program=self.program,
        )

    @property
    def root(self) -> Path:
        """Our folder there."""
        return self.home / "root"

    def start(self, args: Sequence[str], *, limit: float = 0) -> Process:
        """Start a command."""
        del limit
        process = Process(args, self.home, self.path)
        self.started.append(process)
        return process

    def push(self, local: Path, remote: str, *, on_bytes: Callable[[int], None], **how: Any) -> int:
        """Send a file as `Connection` does where there is no sftp-server."""
        sent = self.home / "on its way"
        sent.write_bytes(self.hurt(local.read_bytes()))
        return stream_transfer.push_by_shell(
            sent,
            remote,
            resume=how["resume"],
            start=cast("stream_transfer.Start", self.start),
            report=on_bytes,
            brief=f"{local.name} could not be written",
        )

    def deploy(self, bundle: Path, *, keep: int = 3, program: Program = NONE) -> Outcome:
        """Deploy a bundle, with the program that lives with its releases."""
        self.program = program
        return deployment.deploy(cast("Connection", self), bundle, keep=keep)

    def rollback(self, to: str = "") -> RolledBack:
        """Go back."""
        return deployment.rollback(cast("Connection", self), to)

    def running(self) -> Path | None:
        """The release that is current."""
        link = self.root / "current"
        return link.resolve() if link.is_symlink() else None

    def debris(self) -> list[str]:
        """What stands in the root and is of no release."""
        kept = {"lock", "lock.d", "blobs", "incoming", "releases", "current", "previous"}
        kept |= {"edgewright-root", "program.json", "program.log"}
        odd = [p.name for p in self.root.iterdir() if p.name not in kept]
        return odd + [p.name for p in (self.root / "incoming").iterdir()]


def bundle(folder: Path, extra: dict[str, bytes]) -> Path:
    """A bundle with those files in its library, and beside it that for a device without Python."""
    made = make_bundle(folder, extra={f"library/{path}": data for path, data in extra.items()})
    by_python.split(made)
    return made


def own(bundle: Path) -> Path:
    """That which a device without Python is sent of a bundle."""
    return by_python.fitting(bundle, by_python.NO_PYTHON)
