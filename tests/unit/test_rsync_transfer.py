"""What carries rsync's bytes: the plug, the carrier and the relay, with `cat` in rsync's place."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import IO, Any, Self, cast

import pytest

from deploy.ssh import rsync_transfer
from deploy.ssh.remote_process import RemoteProcess
from tests.support.bundles import noise
from toolchain.core.errors import ConnectionFailed

# rsync as far as it is one: starts its remote shell, and what it wants to run there
RSYNC = """#!{python}
import shlex, subprocess, sys
shell = shlex.split(sys.argv[sys.argv.index("-e") + 1])
local, there = sys.argv[-2], sys.argv[-1].partition(":")[2]
with open(local, "rb") as stream:
    ended = subprocess.run([*shell, "device", "sh", "-c", {script!r}, "sh", there], stdin=stream)
sys.exit(ended.returncode)
"""


class LocalDevice:
    """A command of the device as a process of this machine, with the methods of a remote one."""

    def __init__(self, args: list[str], heard: Callable[[bytes], None]) -> None:
        program = [sys.executable, *args[args.index("-I") :]]
        self.popen = subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.listener = Thread(target=self._listen, args=(heard,))
        self.listener.start()

    def _listen(self, heard: Callable[[bytes], None]) -> None:
        while piece := os.read(cast("IO[bytes]", self.popen.stderr).fileno(), 1 << 16):
            heard(piece)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.popen.kill()
        self.listener.join()
        self.popen.__exit__(kind, error, trace)

    def write(self, content: bytes, *, within: float | None = None) -> None:
        try:
            cast("IO[bytes]", self.popen.stdin).write(content)
            cast("IO[bytes]", self.popen.stdin).flush()
        except BrokenPipeError as error:
            raise ConnectionFailed("lost") from error

    def pieces(self) -> Iterator[bytes]:
        while piece := os.read(cast("IO[bytes]", self.popen.stdout).fileno(), 1 << 16):
            yield piece

    def close_input(self) -> None:
        cast("IO[bytes]", self.popen.stdin).close()

    def ended(self) -> bool:
        return self.popen.wait(10) >= 0


class DeafDevice(LocalDevice):
    """One that is never heard of again."""

    def __init__(self, args: list[str], heard: Callable[[bytes], None]) -> None:
        super().__init__(args, lambda _: None)


def push(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    *,
    size: int = 3 << 20,
    device: type[LocalDevice] = LocalDevice,
    stall: float = 20.0,
) -> tuple[int | None, list[int]]:
    program = folder / "bin" / "rsync"
    program.parent.mkdir()
    program.write_text(RSYNC.format(python=sys.executable, script=script))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    source = folder / "large"
    source.write_bytes(noise(size))
    sizes: list[int] = []

    def start(args: list[str], heard: Callable[[bytes], None]) -> RemoteProcess:
        made: Any = device(args, heard)
        return cast("RemoteProcess", made)

    sent = rsync_transfer.push(
        source, str(folder / "part"), version="3", start=start, report=sizes.append, stall=stall
    )
    return sent, sizes


def test_what_rsync_sends_arrives_and_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, sizes = push(tmp_path, monkeypatch, 'cat > "$1"')
    assert (tmp_path / "part").read_bytes() == (tmp_path / "large").read_bytes()
    assert sent == sum(sizes) == 3 << 20
    assert max(sizes) <= rsync_transfer.PIECE


def test_a_device_whose_rsync_says_no_is_left_to_other_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the plug has no status of the device's to give: rsync misses the other's last word
    monkeypatch.setitem(globals(), "RSYNC", RSYNC.replace("ended.returncode", "12"))
    sent, _ = push(tmp_path, monkeypatch, "exit 3")
    assert sent is None


def test_a_device_that_takes_nothing_more_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConnectionFailed, match="taken nothing"):
        push(tmp_path, monkeypatch, 'cat > "$1"', device=DeafDevice, stall=0.3)


def test_no_more_is_under_way_than_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that reads nothing has a pipe's worth; the relay holds a piece; no more goes."""
    went: list[int] = []

    class Counted(DeafDevice):
        def write(self, content: bytes, *, within: float | None = None) -> None:
            went.append(len(content))
            super().write(content)

    monkeypatch.setattr(rsync_transfer, "UNDER_WAY", 100_000)
    with pytest.raises(ConnectionFailed):
        push(tmp_path, monkeypatch, 'cat > "$1"', device=Counted, stall=0.3)
    assert 100_000 < sum(went) <= 100_000 + rsync_transfer.PIECE


def test_a_link_that_ends_while_a_count_is_awaited_is_seen_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rsync_transfer, "UNDER_WAY", 0)
    monkeypatch.setitem(globals(), "RSYNC", RSYNC.replace("ended.returncode", "12"))
    # longer than the test may take: only the end of the device's output can end the wait
    sent, _ = push(tmp_path, monkeypatch, "exit 3", device=DeafDevice, stall=600)
    assert sent is None


def test_a_name_is_one_argument_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = tmp_path / "a 'b' $(c); d"
    odd.mkdir()
    sent, _ = push(odd, monkeypatch, 'cat > "$1"', size=10)
    assert sent == 10
    assert (odd / "part").read_bytes() == (odd / "large").read_bytes()


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A device's folder, and rsync among its programs."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "dirname", "basename", "mkdir", "ln", "rm", "mv"):
        (programs / name).symlink_to(cast("str", shutil.which(name)))
    (programs / "rsync").symlink_to("sh")
    monkeypatch.setenv("PATH", str(programs))
    (tmp_path / "-o $(x)" / "incoming").mkdir(parents=True)
    return tmp_path / "-o $(x)"


def ready(there: Path, *, resume: bool) -> int:
    part, basis = str(there / "incoming" / "m.part"), str(there / "old")
    return subprocess.run(rsync_transfer.ready(part, basis, resume=resume), check=False).returncode


@pytest.mark.parametrize("resume", [True, False])
def test_what_it_is_compared_with_is_linked_and_not_touched(there: Path, resume: bool) -> None:
    old, part = there / "old", there / "incoming" / "m.part"
    old.write_bytes(b"old")
    part.write_bytes(b"begun")
    assert ready(there, resume=resume) == 0
    assert part.exists() == resume
    assert (there / "incoming" / rsync_transfer.BASIS / "m.part").samefile(old)
    assert ready(there, resume=resume) == 0, "again, after a try that was cut off"
    part.write_bytes(b"whole")
    whole = there / "incoming" / "m"
    assert subprocess.run(rsync_transfer.finish(str(part), str(whole)), check=False).returncode == 0
    assert whole.read_bytes() == b"whole"
    assert old.read_bytes() == b"old"
    assert list((there / "incoming" / rsync_transfer.BASIS).iterdir()) == []


def test_without_an_earlier_file_or_rsync_there_it_says_which(there: Path, tmp_path: Path) -> None:
    assert ready(there, resume=True) == rsync_transfer.NO_BASIS
    (tmp_path / "programs" / "rsync").unlink()
    (there / "old").write_bytes(b"old")
    assert ready(there, resume=True) == rsync_transfer.NO_RSYNC
    assert list((there / "incoming").iterdir()) == []
