"""Writes one file through a program on the device, where there is no sftp-server.

As over SFTP, only so many bytes are under way: the program says what it has written, and of what it
has not said so a resumed transfer sends all again. Without that, ssh's own window decides (2 MiB).
Where there is no Python either, each piece goes to a `cat` of its own, which has ended, and has
said how much is there, before the next one begins.

A part of the seam `deploy.ssh.connection`, which alone uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.ssh.remote_process import RemoteProcess, python
from toolchain.core.errors import ConnectionFailed, ReleaseError

UNDER_WAY = 512 << 10
PIECE = 32 << 10
EACH = 128 << 10  # to a `cat` of its own, which has a stall's time for it
PROGRAM = Path(__file__).parents[1] / "agent" / "programs" / "receive.py"

# The file's part, and how long it is to be: what is beyond that is none of it.
BEGIN = """
size=$(wc -c <"$1" 2>/dev/null) || size=0
if [ "$size" -eq 0 ] || [ "$size" -gt "$2" ]; then : >"$1" && size=0; fi && echo "$((size))"
"""
APPEND = 'cat >>"$1" && echo "$(($(wc -c <"$1")))"'
FINISH = 'mv -f "$1" "$2" && echo "$(($(wc -c <"$2")))"'

Start = Callable[[Sequence[str]], RemoteProcess]


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


def push_by_shell(
    local: Path,
    remote: str,
    *,
    resume: bool,
    start: Start,
    report: Callable[[int], None],
    brief: str,
) -> int:
    """Send a file; it appears under its name only when it is whole. Returns bytes sent.

    Args:
        local: the file.
        remote: its path there.
        resume: go on where an earlier try left `remote`.part.
        start: starts a command on the device.
        report: called with the size of each piece sent.
        brief: what to say when the device can't write.

    Raises:
        ReleaseError: the device could not write it.
        ConnectionFailed: the link dropped.
    """
    part, size = f"{remote}.part", local.stat().st_size
    offset = _size_after(start, brief, BEGIN, part, str(size if resume else -1))
    sent = 0
    with local.open("rb") as source:
        source.seek(offset)
        while piece := source.read(EACH):
            there = _size_after(start, brief, APPEND, part, content=piece)
            sent += len(piece)
            if there != offset + sent:
                raise _not_written(brief, f"{there} bytes are there, of {offset + sent} sent")
            report(len(piece))
    if _size_after(start, brief, FINISH, part, remote) != size:
        raise _not_written(brief, "it is not as long as it was sent")
    return sent


def _size_after(start: Start, brief: str, script: str, *words: str, content: bytes = b"") -> int:
    """Run a script there that ends with the size of a file."""
    with start(["sh", "-c", script, "sh", *words]) as process:
        try:
            process.write(content)
        except ConnectionFailed:
            if not process.ended():
                raise  # else it says why, as a disk that is full
        process.close_input()
        said = list(process.lines())
        if process.wait() != 0 or len(said) != 1 or not said[0].isdecimal():
            raise _not_written(brief, "\n".join([*said, process.errors()]).strip()[:500])
        return int(said[0])


def _not_written(brief: str, why: str) -> ReleaseError:
    return ReleaseError(
        brief,
        detail=why,
        resolution="look at the device's free space and at who owns the folder",
    )
