"""The plain stream: what its two ends do with each other, without SSH between them."""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, cast

import pytest

from deploy.ssh import stream_transfer
from deploy.ssh.remote_process import RemoteProcess
from deploy.ssh.stream_transfer import StreamWrites
from tests.support.bundles import noise
from toolchain.core.errors import ConnectionFailed, ReleaseError


class LocalProcess:
    """The device's program as a process of this machine, with the methods of a remote one."""

    def __init__(self, part: Path, whole: Path, size: int, *, resume: bool) -> None:
        command = stream_transfer.command("3", str(part), str(whole), size, resume=resume)
        program = [sys.executable, *command[command.index("-I") :]]
        self.popen = subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def write(self, content: bytes, *, within: float | None = None) -> None:
        stream = cast("IO[bytes]", self.popen.stdin)
        stream.write(content)
        stream.flush()

    def line(self, *, within: float | None = None) -> str | None:
        return cast("IO[bytes]", self.popen.stdout).readline().decode().rstrip("\n") or None

    def close_input(self) -> None:
        cast("IO[bytes]", self.popen.stdin).close()

    def wait(self) -> int:
        return self.popen.wait()

    def errors(self) -> str:
        return cast("IO[bytes]", self.popen.stderr).read().decode()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[tuple[Path, Path, type[LocalProcess]]]:
    with ExitStack() as stack:

        class Started(LocalProcess):
            def __init__(self, part: Path, whole: Path, size: int, *, resume: bool) -> None:
                super().__init__(part, whole, size, resume=resume)
                stack.enter_context(self.popen)

        yield tmp_path / "part", tmp_path / "whole", Started


Ends = tuple[Path, Path, type[LocalProcess]]


def writes_of(process: object) -> StreamWrites:
    return StreamWrites(cast("RemoteProcess", process), "m could not be written", 10)


@pytest.mark.parametrize("begun", [0, 1, 100_000, 1 << 20])
def test_a_file_goes_on_where_it_was_and_gets_its_name_when_whole(
    started: Ends, begun: int
) -> None:
    part, whole, start = started
    content = noise(1 << 20)
    part.write_bytes(content[:begun])
    writes = writes_of(start(part, whole, len(content), resume=True))
    assert writes.offset == begun
    for place in range(begun, len(content), stream_transfer.PIECE):
        assert not whole.exists()
        writes.write(content[place : place + stream_transfer.PIECE])
    writes.finish()
    assert whole.read_bytes() == content
    assert not part.exists()


@pytest.mark.parametrize(("left", "resume"), [(b"x" * 20, True), (b"x" * 5, False)])
def test_what_is_no_part_of_the_file_is_written_over(
    started: Ends, left: bytes, resume: bool
) -> None:
    part, whole, start = started
    part.write_bytes(left)
    writes = writes_of(start(part, whole, 10, resume=resume))
    assert writes.offset == 0
    writes.write(b"0123456789")
    writes.finish()
    assert whole.read_bytes() == b"0123456789"


def test_a_stream_that_ends_early_leaves_a_part(started: Ends) -> None:
    part, whole, start = started
    process = start(part, whole, 10, resume=True)
    writes_of(process).write(b"01234")
    process.close_input()
    assert process.wait() == 1
    assert part.read_bytes() == b"01234"
    assert not whole.exists()


def test_a_device_that_cannot_write_says_why(started: Ends) -> None:
    part, whole, start = started
    part.mkdir()
    with pytest.raises(ReleaseError) as caught:
        writes_of(start(part, whole, 10, resume=True))
    assert "Is a directory" in caught.value.detail


class FullDisk:
    """A device whose program ends in the middle of a file."""

    def write(self, content: bytes, *, within: float | None = None) -> None:
        raise ConnectionFailed("the connection was lost")

    def line(self, *, within: float | None = None) -> str:
        return "0"

    def ended(self) -> bool:
        return True

    def errors(self) -> str:
        return "No space left on device"


def test_a_disk_that_is_full_is_no_lost_link() -> None:
    with pytest.raises(ReleaseError) as caught:
        writes_of(FullDisk()).write(b"x")
    assert "No space left" in caught.value.detail


class SlowProcess:
    """A device that writes what it was sent only when it is asked how far it is."""

    def __init__(self) -> None:
        self.sent = self.written = self.most = 0
        self.said = deque(["0"])

    def write(self, content: bytes, *, within: float | None = None) -> None:
        self.sent += len(content)
        self.most = max(self.most, self.sent - self.written)

    def line(self, *, within: float | None = None) -> str:
        if self.said:
            return self.said.popleft()
        self.written = min(self.sent, self.written + 10_000)
        return str(self.written)


def test_no_more_is_under_way_than_the_bound() -> None:
    process = SlowProcess()
    writes = writes_of(process)
    for _ in range(100):
        writes.write(bytes(stream_transfer.PIECE))
    assert process.sent == 100 * stream_transfer.PIECE
    assert process.most <= stream_transfer.UNDER_WAY + stream_transfer.PIECE
    assert process.most > stream_transfer.UNDER_WAY - stream_transfer.PIECE


def test_what_is_no_number_is_not_taken_for_one() -> None:
    process = SlowProcess()
    process.said = deque(["welcome"])
    with pytest.raises(ReleaseError, match="could not be written") as caught:
        writes_of(process)
    assert "welcome" in caught.value.detail
