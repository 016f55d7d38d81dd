"""Writes one file through a program on the device, where there is no sftp-server.

As over SFTP, only so many bytes are under way: the program says what it has written, and of what it
has not said so a resumed transfer sends all again. Without that, ssh's own window decides (2 MiB).
A part of the seam `deploy.ssh.connection`, which alone uses it.
"""

from __future__ import annotations

from pathlib import Path

from deploy.ssh.remote_process import RemoteProcess, python
from toolchain.core.errors import ConnectionFailed, ReleaseError

UNDER_WAY = 512 << 10
PIECE = 32 << 10
PROGRAM = Path(__file__).parents[1] / "agent" / "programs" / "receive.py"


def command(version: str, part: str, whole: str, size: int, *, resume: bool) -> list[str]:
    """What to run on the device for one file."""
    source = PROGRAM.read_text()
    return python(version, "-I", "-c", source, part, whole, str(size), "1" if resume else "0")


class StreamWrites:
    """The writes of one file.

    Args:
        process: the program that `command` starts.
        brief: what to say when the device can't write.
        stall: seconds that may pass without a word from it.

    Attributes:
        offset: where the first byte goes.

    Raises:
        ReleaseError: the device can't write the file.
        ConnectionFailed: the link dropped, or the device stalls.
    """

    def __init__(self, process: RemoteProcess, brief: str, stall: float) -> None:
        self._process, self._brief, self._stall = process, brief, stall
        self._written = self._hear()
        self.offset = self._sent = self._written

    def write(self, piece: bytes) -> None:
        """Send some bytes, at most `PIECE` of them. Raises as the class."""
        try:
            self._process.write(piece, within=self._stall)
        except ConnectionFailed as error:
            if self._process.ended():
                raise self._refused() from error
            raise
        self._sent += len(piece)
        while self._sent - self._written > UNDER_WAY:
            self._written = self._hear()

    def finish(self) -> None:
        """Wait until all is on the disk, under its name. Raises as the class."""
        self._process.close_input()
        while self._written < self._sent:
            self._written = self._hear()
        if self._process.wait() != 0:
            raise self._refused()

    def _hear(self) -> int:
        line = self._process.line(within=self._stall)
        if line is None:
            self._process.wait()
            raise self._refused()
        if not line.isdecimal():
            raise ReleaseError(self._brief, detail=f"the device said: {line[:200]}")
        return int(line)

    def _refused(self) -> ReleaseError:
        return ReleaseError(
            self._brief,
            detail=self._process.errors(),
            resolution="look at the device's free space and at who owns the folder; where it has "
            "no sftp-server, it needs Python 3",
        )
