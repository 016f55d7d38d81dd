"""Sends one file by rsync over the connection that is open already: what differs from another one.

That is what rsync is for here. Where the device has nothing like the file, SFTP does the same with
less work at both ends. What rsync takes for ssh is a socket of ours (`rsync_socket`), so host
keys, algorithms, jumps and the user's identity are those of `deploy.ssh.login`, and no secret is
anybody's argument. What is under way is bounded as over SFTP: a relay on the device
(`deploy/agent/programs/relay.py`) counts what rsync there was given. A part of the seam
`connection`, which alone uses it.
"""

from __future__ import annotations

import json
import math
import shlex
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from deploy.ssh.remote_process import RemoteProcess, python
from toolchain.core import process
from toolchain.core.errors import CommandError, ConnectionFailed, EdgewrightError

# Below this the processes at both ends cost more than they could spare.
FROM = 1 << 20
# beside the file that comes: where the one to compare with has its name
BASIS = "basis"
UNDER_WAY = 512 << 10
PIECE = 32 << 10
# the pipe to rsync there, and what it holds back before it writes
HELD = (64 << 10) + (256 << 10)
PLUG = Path(__file__).with_name("rsync_socket.py")
RELAY = Path(__file__).parents[1] / "agent" / "programs" / "relay.py"
CONNECT_LIMIT = 15.0
NO_BASIS, NO_RSYNC = 3, 4
# a link, not a copy; what is left of it the next deployment clears
READY = """
command -v rsync >/dev/null || exit 4
test -f "$2" || exit 3
test "$3" = 1 || rm -f -- "$1"
there=$(dirname -- "$1")/basis
mkdir -p -- "$there" && ln -f -- "$2" "$there/$(basename -- "$1")"
"""
FINISH = """
rm -f -- "$(dirname -- "$1")/basis/$(basename -- "$1")"
mv -f -- "$1" "$2"
"""

Start = Callable[[list[str], Callable[[bytes], None]], RemoteProcess]


def here() -> str | None:
    """This machine's rsync; None when there is none."""
    return shutil.which("rsync")


def ready(part: str, basis: str, *, resume: bool) -> list[str]:
    """What to run there first; it may return NO_BASIS or NO_RSYNC."""
    return ["sh", "-ec", READY, "sh", part, basis, "1" if resume else "0"]


def finish(part: str, whole: str) -> list[str]:
    """What to run there when the file has come."""
    return ["sh", "-ec", FINISH, "sh", part, whole]


def push(
    local: Path,
    part: str,
    *,
    version: str,
    start: Start,
    report: Callable[[int], None],
    stall: float,
) -> int | None:
    """Send a file; returns the bytes that went out, None when rsync can't do it.

    Args:
        local: the file.
        part: its path there, where an earlier try may have left some of it.
        version: of the device's Python.
        start: starts a command on the device, given what to call with its standard error.
        report: called with the size of each piece sent.
        stall: seconds that may pass without a word from the device.

    Raises:
        ConnectionFailed: the link dropped, or the device stalls.
    """
    with tempfile.TemporaryDirectory(prefix=f"edgewright-{process.own_name()}-") as folder:
        path = Path(folder) / "link"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen(1)
            listener.settimeout(CONNECT_LIMIT)
            carrier = _Carrier(listener, version, start, report, stall)
            carrier.start()
            shell = shlex.join([sys.executable, "-I", "-S", str(PLUG), str(path)])
            # -s: names go inside the protocol, where no shell reads them
            command = ["rsync", "-s", "--inplace", "--no-whole-file", "--ignore-times"]
            command += [
                f"--compare-dest={BASIS}",
                f"--timeout={math.ceil(stall) + 10}",
                "-e",
                shell,
            ]
            try:
                process.run([*command, str(local.resolve()), f"device:{part}"])
                done = True
            except CommandError:
                done = False
            carrier.join()
    if carrier.error is not None:
        raise carrier.error
    return carrier.sent if done else None


class _Carrier(threading.Thread):
    """Carries rsync's bytes to the device and back, so many of them under way."""

    def __init__(
        self,
        listener: socket.socket,
        version: str,
        start: Start,
        report: Callable[[int], None],
        stall: float,
    ) -> None:
        super().__init__(daemon=True)
        self.sent = self.handed = 0
        self.error: EdgewrightError | None = None
        self._listener, self._version = listener, version
        self._start, self._report, self._stall = start, report, stall
        self._more = threading.Condition()
        self._line = b""
        self._over = False

    def run(self) -> None:
        """Serve one rsync, until it or the device ends."""
        try:
            near, _ = self._listener.accept()
        except OSError:
            return  # rsync did not even begin
        with near:
            try:
                self._carry(near)
            except EdgewrightError as error:
                self.error = error
            except OSError:
                return  # rsync has gone; its status says why
            finally:
                with suppress(OSError):
                    near.shutdown(socket.SHUT_RDWR)

    def _carry(self, near: socket.socket) -> None:
        with near.makefile("rb", buffering=0) as stream:
            command = json.loads(stream.readline())
        source = RELAY.read_text()
        relay = python(self._version, "-I", "-c", source, *command)
        with self._start(relay, self._heard) as device:
            back = threading.Thread(target=self._bring_back, args=(device, near), daemon=True)
            back.start()
            while piece := near.recv(PIECE):
                try:
                    device.write(piece, within=self._stall)
                except ConnectionFailed:
                    if device.ended():
                        return  # without reading all: our rsync says why
                    raise
                self.sent += len(piece)
                self._report(len(piece))
                self._wait()
            device.close_input()
            # how rsync ended is known from ours; one there that hangs on is killed
            device.ended()

    def _wait(self) -> None:
        with self._more:
            while self.sent - self.handed > UNDER_WAY and not self._over:
                if not self._more.wait(self._stall):
                    raise ConnectionFailed(
                        f"the device has taken nothing for {self._stall:.0f} s",
                        resolution="see whether the device still answers, then run the same "
                        "command again",
                    )

    def _heard(self, piece: bytes) -> None:
        """The device's standard error: counts, and what else is said there."""
        *lines, self._line = (self._line + piece).split(b"\n")
        with self._more:
            self.handed = max([self.handed, *(int(n) for n in lines if n.isdigit())])
            self._more.notify_all()

    def _bring_back(self, device: RemoteProcess, near: socket.socket) -> None:
        with suppress(OSError, ConnectionFailed):
            for piece in device.pieces():
                near.sendall(piece)
        with suppress(OSError):
            near.shutdown(socket.SHUT_WR)
        with self._more:
            # nothing more will be counted: our rsync, which sees the end too, says how it ended
            self._over = True
            self._more.notify_all()
