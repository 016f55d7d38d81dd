"""The seam to local commands: every subprocess of this machine passes through here.

Commands are lists of arguments, never a shell's string. SSH and Docker have seams of their own.
"""

from __future__ import annotations

import collections
import functools
import hashlib
import os
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from toolchain.core.errors import CommandError

TAIL_LINES = 40
# what the name of a temporary thing begins with: where, which process, since when
OWNED = re.compile(r"([0-9a-f]{6})\.(\d+)\.(\d+)(?=-|$)")


def run(
    args: Sequence[str | os.PathLike[str]],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    passed: re.Pattern[str] | None = None,
    on_line: Callable[[str], None] | None = None,
    input_text: str | None = None,
) -> str:
    """Run a command to its end and return what it printed (both streams, in order).

    Args:
        args: the command and its arguments.
        cwd: its working folder.
        env: variables set on top of this process's own.
        passed: matches the names of this process's own that the command gets; all when not given.
        on_line: called with each line as it is printed.
        input_text: what the command reads; without it, nothing.

    Raises:
        CommandError: the command could not be started or returned non-zero.
    """
    argv = [os.fspath(a) for a in args]
    tail: collections.deque[str] = collections.deque(maxlen=TAIL_LINES)
    output: list[str] = []
    try:
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env={**_own(passed), **(env or {})},
            stdin=subprocess.PIPE if input_text is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise CommandError(argv, 127, str(error)) from error
    with process:
        try:
            if input_text is not None and process.stdin is not None:
                process.stdin.write(input_text)
                process.stdin.close()
            assert process.stdout is not None
            for line in process.stdout:
                output.append(line)
                tail.append(line)
                if on_line is not None:
                    on_line(line.rstrip("\n"))
            code = process.wait()
        except BaseException:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
    if code != 0:
        raise CommandError(argv, code, "".join(tail))
    return "".join(output)


def _own(passed: re.Pattern[str] | None) -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if passed is None or passed.fullmatch(k)}


def start_daemon(args: Sequence[str | os.PathLike[str]], *, log: Path) -> int:
    """Start a command in a session of its own, its output going to a file; return its id."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [os.fspath(a) for a in args],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return process.pid


class CommandSocket(socket.socket):
    """A socket to the standard input and output of a command, which ends when it is closed.

    Args:
        args: the command and its arguments.

    Raises:
        OSError: it could not be started.
    """

    def __init__(self, args: Sequence[str]) -> None:
        ours, its = socket.socketpair()
        super().__init__(fileno=ours.detach())
        self._tail: collections.deque[str] = collections.deque(maxlen=TAIL_LINES)
        with its:
            try:
                self._process = subprocess.Popen(
                    args,
                    stdin=its.fileno(),
                    stdout=its.fileno(),
                    stderr=subprocess.PIPE,
                    text=True,
                    errors="replace",
                    start_new_session=True,
                )
            except OSError:
                super().close()
                raise
        self._reader = threading.Thread(target=self._read_errors, daemon=True)
        self._reader.start()

    def errors(self) -> str:
        """The tail of what it has printed on standard error; all of it when it has ended."""
        self._reader.join(0.5)
        return "".join(self._tail)

    def returncode(self) -> int:
        """How it ended, once it has; negative for a signal."""
        self._reader.join()
        return self._process.wait()

    def close(self) -> None:
        """Close the socket and end the command."""
        super().close()
        if self._process.poll() is None:
            self._process.terminate()

    def _read_errors(self) -> None:
        with self._process:
            assert self._process.stderr is not None
            self._tail.extend(self._process.stderr)


def own_name() -> str:
    """What the names of this process's temporary things begin with, such as 3fa0c1.1234.56789.

    Its id and when it was started, since ids are used again; before them, where both are counted,
    since a cache may be shared by machines and containers, of which each sees its own processes.
    """
    number = os.getpid()
    return f"{_place()}.{number}.{_started(number) or 0}"


def is_gone(owned: str) -> bool:
    """Whether what has this name is of a process of this machine that has ended.

    Args:
        owned: the name of a thing, which begins with what `own_name` gave its owner.

    Returns:
        False as well for what has another name, and for the owners that can't be seen from here.
    """
    found = OWNED.match(owned)
    # one that didn't know when it was started can't be told from another
    if found is None or found[1] != _place() or found[3] == "0":
        return False
    return _started(int(found[2])) != int(found[3])


def _started(number: int) -> int | None:
    """When a process was started, in the kernel's ticks; None for one that isn't there."""
    try:
        said = Path(f"/proc/{number}/stat").read_bytes()
    except OSError:
        return None
    # its name, in parentheses, may hold anything
    return int(said.rpartition(b")")[2].split()[19])


@functools.cache
def _place() -> str:
    """Six digits for this machine, and the part of it whose processes can be seen from here."""
    try:
        machine = Path("/etc/machine-id").read_text()
    except OSError:
        machine = ""
    try:
        namespace = Path("/proc/self/ns/pid").readlink().name
    except OSError:
        namespace = ""
    whole = f"{machine} {os.uname().nodename} {namespace}"
    return hashlib.sha256(whole.encode()).hexdigest()[:6]
