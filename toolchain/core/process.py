"""The seam to local commands: every subprocess of this machine passes through here.

Commands are lists of arguments, never a shell's string. SSH and Docker have seams of their own.
"""

from __future__ import annotations

import collections
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from toolchain.core.errors import CommandError

TAIL_LINES = 40


def run(
    args: Sequence[str | os.PathLike[str]],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
    input_text: str | None = None,
) -> str:
    """Run a command to its end and return what it printed (both streams, in order).

    Args:
        args: the command and its arguments.
        cwd: its working folder.
        env: variables set on top of this process's own.
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
            env={**os.environ, **(env or {})},
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
