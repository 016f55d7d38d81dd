"""A device for tests: a real sshd of this machine, on a port of 127.0.0.1, in a folder of its own.

Its Python is the one that runs the tests; numpy, as far as the device is concerned, is a folder
that a test may take away.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from deploy.inventory.reading import Device
from deploy.release import deployment
from deploy.release.plan import Outcome
from deploy.ssh import connection

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
CONFIG = """\
ListenAddress 127.0.0.1:{port}
HostKey {folder}/{host_key}
PidFile none
AuthorizedKeysFile {folder}/user_key.pub
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
MaxStartups 100
MaxSessions 100
SetEnv HOME={folder} PATH={folder}/bin:/usr/local/bin:/usr/bin:/bin
{more}
"""


LISTENS = b"Server listening on 127.0.0.1 "
TRIES = 200  # to see it listen, 50 ms apart


class Sshd:
    """A running sshd; `device` is how the inventory would describe it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # kept: whoever asks for a port before sshd has this one gets another
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind(("127.0.0.1", 0))
        self.port = int(self._reserved.getsockname()[1])
        self.process: subprocess.Popen[bytes] | None = None
        self.sftp = True
        self.host_key = "host_key"
        # further lines of its configuration
        self.more: list[str] = []
        (folder / "bin").mkdir(parents=True)
        # a numpy that this machine has is not the device's
        venv.create(folder / "python", symlinks=True)
        for name in ("python3", f"python{VERSION}"):
            program = folder / "bin" / name
            program.write_text(f'#!/bin/sh\nexec {folder}/python/bin/python3 "$@"\n')
            program.chmod(0o755)
        self.install_numpy()
        for name in ("host_key", "other_host_key", "user_key"):
            keygen(folder / name)
        self.trust("host_key")

    @property
    def device(self) -> Device:
        """The device as the inventory would give it."""
        return Device(
            name="board",
            host="127.0.0.1",
            port=self.port,
            target="rv64gc",
            python=VERSION,
            key_file=self.folder / "user_key",
            known_hosts=self.folder / "known_hosts",
            root=str(self.root),
            strict_kex=True,
        )

    @property
    def root(self) -> Path:
        """Our folder on the device."""
        return self.folder / "root"

    def install_numpy(self) -> None:
        """Let the device have a numpy."""
        (packages,) = (self.folder / "python" / "lib").glob("python*/site-packages")
        package = packages / "numpy"
        package.mkdir()
        (package / "__init__.py").write_text("")
        package.with_name("numpy-1.2.3.dist-info").mkdir()

    def remove_numpy(self) -> None:
        """Take it away."""
        for path in (self.folder / "python" / "lib").glob("python*/site-packages/numpy*"):
            shutil.rmtree(path)

    def trust(self, *names: str) -> None:
        """Put these host keys, and no others, into known_hosts."""
        lines = [
            f"[127.0.0.1]:{self.port} {(self.folder / f'{name}.pub').read_text()}" for name in names
        ]
        (self.folder / "known_hosts").write_text("".join(lines))

    def start(self) -> None:
        """Start sshd and wait until it answers."""
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        config = self.folder / "sshd_config"
        config.write_text(
            CONFIG.format(
                port=self.port,
                folder=self.folder,
                host_key=self.host_key,
                more="\n".join(
                    [*(["Subsystem sftp internal-sftp"] if self.sftp else []), *self.more]
                ),
            )
        )
        program = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin:/usr/bin")
        assert program, "openssh-server is missing: apt-get install openssh-server"
        command = [program, "-D", "-e", "-f", str(config)]
        before = 0
        for _ in range(TRIES):
            # a child of the one before may hold the port for a moment: then this one ends at once
            if self.process is None or self.process.poll() is not None:
                with (self.folder / "log").open("ab") as log:
                    before = log.tell()
                    self.process = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL)
            # its own word: what answers may be another one that has the port
            if LISTENS in (self.folder / "log").read_bytes()[before:] and self._answers():
                return
            time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text())

    def _answers(self) -> bool:
        """Whether something that speaks SSH is on the port."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as trial:
                return trial.recv(4) == b"SSH-"
        except OSError:
            return False

    def stop(self) -> None:
        """Stop sshd and all of its connections."""
        if self.process is not None:
            self.drop_links()
            self.process.terminate()
            self.process.wait()
            self.process = None

    def drop_links(self) -> None:
        """Cut every connection, as if the cable had been pulled."""
        assert self.process is not None
        for child in _descendants(self.process.pid):
            if _name(child).startswith("sshd"):
                with suppress(ProcessLookupError):  # it has ended by itself
                    os.kill(child, signal.SIGKILL)

    def freeze(self) -> None:
        """Stop sshd where it stands: its links stay and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self.process is not None
        for child in [self.process.pid, *_descendants(self.process.pid)]:
            if child == self.process.pid or _name(child).startswith("sshd"):
                with suppress(ProcessLookupError):
                    os.kill(child, number)

    def running(self) -> str | None:
        """The folder of the release that the device runs."""
        link = self.root / "current"
        return link.readlink().name if link.is_symlink() else None


def processes_with(text: str) -> list[int]:
    """Processes of this machine that have a text among their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                arguments = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if text.encode() in arguments:
                found.append(int(entry.name))
    return found


def _descendants(parent: int) -> Iterator[int]:
    try:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    except OSError:
        return
    for child in map(int, children):
        yield from _descendants(child)
        yield child


def _name(process: int) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text()
    except OSError:
        return ""


def deploy(device: Device, folder: Path, *, keep: int = 3) -> Outcome:
    with connection.connect(device) as conn:
        return deployment.deploy(conn, folder, keep=keep)


def wait_until(condition: object, limit: float = 10.0) -> bool:
    assert callable(condition)
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False


def keygen(path: Path) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)], check=True
    )


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])
