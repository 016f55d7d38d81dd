"""Work in a child process that is ended, or fails, at an exact system call or at any moment."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolchain.core.errors import EdgewrightError

MUTATING = (
    "openat,open,creat,write,pwrite64,writev,ftruncate,truncate,fallocate,sendfile,copy_file_range,"
    "mkdir,mkdirat,rmdir,link,linkat,symlink,symlinkat,rename,renameat,renameat2,unlink,unlinkat,"
    "chmod,fchmod,fchmodat,chown,fchown,fchownat,utimensat,fsync,fdatasync,sync_file_range"
)
WRITES = re.compile(r"O_(CREAT|TRUNC|WRONLY|RDWR)")
CALL = re.compile(r"^(\w+)\((.*)$")
LIMIT = 60.0

Work = Callable[[Callable[[str, Any], None]], object]


@dataclass(frozen=True)
class Point:
    """The `nth` call of that name, from 1."""

    call: str
    nth: int

    def __str__(self) -> str:
        return f"{self.call} #{self.nth}"


@dataclass(frozen=True)
class Ended:
    """How a child ended: killed or not, the steps it was told are done, its error, its calls."""

    killed: bool
    done: list[str]
    error: str
    crash: str
    points: list[Point]
    hit: bool


def run(work: Work, inject: str = "", *, scratch: Path) -> Ended:
    """Do work in a child under strace, with a fault in it.

    Args:
        work: called with a function that takes each step and its answer.
        inject: what strace's `inject` option takes.
        scratch: a folder for strace's log; outside the device.
    """
    pid, link = _begin(work)
    log = scratch / "strace.log"
    log.unlink(missing_ok=True)
    extra = ["-e", f"inject={inject}"] if inject else []
    calls = ",".join(f"?{name}" for name in MUTATING.split(","))
    tracer = subprocess.Popen(
        ["strace", "-s", "0", "-p", str(pid), "-o", str(log), "-e", f"trace={calls}", *extra],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert tracer.stderr is not None
    # the kernel names a tracer before that one has stopped the child: strace says when it has
    said = tracer.stderr.readline()
    assert b"attached" in said, f"strace could not attach: {said!r}"
    end = time.monotonic() + LIMIT
    with link:
        link.send(b"go")
        told = list(_told(link, end))
    assert time.monotonic() < end, "the child did not end"
    _, status = os.waitpid(pid, 0)
    tracer.wait(LIMIT)
    tracer.stderr.close()
    text = log.read_text(errors="replace")
    return _ended(
        told,
        killed=os.WIFSIGNALED(status),
        points=_points(text),
        hit="INJECTED" in text or os.WIFSIGNALED(status),
    )


def stop(work: Work, steps: int, seconds: float, cut: Callable[[], None]) -> Ended:
    """Do work in a child; after so many steps and so long call `cut`, and kill the child.

    What the child would have said after that is not heard: nobody is there any more to hear it.
    """
    pid, link = _begin(work)
    with link:
        link.send(b"go")
        told = list(itertools.islice(_told(link, time.monotonic() + LIMIT), steps))
        told += _told(link, time.monotonic() + seconds)
        cut()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return _ended(told, killed=True, points=[], hit=True)


def _begin(work: Work) -> tuple[int, socket.socket]:
    """A child that works as soon as it hears something, and the link to it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        ours.close()
        _child(work, theirs)
    theirs.close()
    return pid, ours


def _told(link: socket.socket, until: float) -> Iterator[tuple[str, str]]:
    """What a child says, a message each, until it ends or the time is up."""
    while True:
        # never 0, with which a socket does not wait and says so by another error
        link.settimeout(max(until - time.monotonic(), 1e-4))
        try:
            said = link.recv(1 << 16)
        except TimeoutError:
            return
        if not said:
            return
        kind, text = json.loads(said)
        yield kind, text


def _ended(told: list[tuple[str, str]], *, killed: bool, points: list[Point], hit: bool) -> Ended:
    return Ended(
        killed=killed,
        done=[v for k, v in told if k == "done"],
        error=next((v for k, v in told if k == "error"), ""),
        crash=next((v for k, v in told if k == "crash"), ""),
        points=points,
        hit=hit,
    )


def _child(work: Work, link: socket.socket) -> None:
    def tell(kind: str, text: str) -> None:
        # by sendto, which is no call that faults are put at
        link.send(json.dumps([kind, text]).encode())

    try:
        link.recv(2)
        work(lambda do, answer: tell("done", do) if "ok" in answer else None)
    except EdgewrightError as error:
        tell("error", f"{error.brief}: {error.detail}")
    except BaseException as error:  # noqa: BLE001 (a child must not go on as a second pytest)
        tell("crash", f"{type(error).__name__}: {error}")
    finally:
        os._exit(0)


def _points(text: str) -> list[Point]:
    found, counts = [], Counter[str]()
    for line in text.splitlines():
        match = CALL.match(line)
        if match is None:
            continue
        counts[match[1]] += 1
        if match[1] not in ("openat", "open") or WRITES.search(match[2]):
            found.append(Point(match[1], counts[match[1]]))
    return found


def kill_at(point: Point) -> str:
    """The injection that kills before the call does anything."""
    return f"{point.call}:signal=KILL:when={point.nth}"


def fail_at(point: Point, name: str) -> str:
    """The injection that makes one call fail with that error."""
    return f"{point.call}:error={name}:when={point.nth}"
