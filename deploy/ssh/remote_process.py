"""A command that runs on a device: its streams, its end, its time limit.

Made by `connection`; nothing else makes one. It reads lines, so a partial last line counts as one.
"""

from __future__ import annotations

import collections
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from toolchain.core.errors import ConnectionFailed, DeviceRefused, EdgewrightError

GRACE = 5.0
SHORTLY = 1.0  # seconds in which a shell that has printed ends, or goes on
LONGEST_LINE = 16 << 20
# timeout's own status, a shell's after SIGKILL, and none at all: timeout may kill itself too.
TIMED_OUT = (124, 137, -1)
# What the first line of output begins with, before the process id.
BEGINS = "edgewright"
# 127 is what a shell says of a command that it does not know.
PYTHON = 'command -v "$1" >/dev/null 2>&1 || exit 127; exec "$@"'


def python(version: str, *arguments: str) -> list[str]:
    """A command line of the device's Python of that version; 3 is its python3."""
    return ["sh", "-c", PYTHON, "sh", f"python{version}", *arguments]


class RemoteProcess:
    """A running command.

    Args:
        channel: its SSH channel, paramiko's; the first line of output is BEGINS and its process id.
        name: the device, for messages.
        what: the command, for messages.
        limit: seconds it may live; the device ends it then.
        kill: ends a process of the device by its id.
        on_errors: called with each piece of its standard error, from another thread.
    """

    def __init__(
        self,
        *,
        channel: Any,
        name: str,
        what: str,
        limit: float,
        kill: Callable[[int], None],
        on_errors: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        self.name = name
        self.what = what
        self.limit = limit
        self._channel = channel
        self._kill = kill
        self._on_errors = on_errors
        self._started = time.monotonic()
        self._deadline = self._started + limit + GRACE
        self._buffer = bytearray()
        self._id: int | None = None
        self._ended = False
        self._errors: collections.deque[bytes] = collections.deque(maxlen=64)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None or not self._ended:
            self.kill()
        # over a dead link closing fails too; what the block raised says more
        with suppress(OSError, EOFError):
            self._channel.close()

    def write(self, content: bytes, *, within: float | None = None) -> None:
        """Send to its standard input.

        Args:
            content: what to send.
            within: seconds in which the device must take it, when less than its limit.

        Raises:
            ConnectionFailed: the link dropped, the time is up, or it ended without reading.
            DeviceRefused: the login's shell did not let it begin.
        """
        left = self._left()
        patience = left if within is None else min(left, within)
        self._channel.settimeout(patience)
        try:
            self._channel.sendall(content)
        except TimeoutError as error:
            raise (self._too_long() if patience == left else self._silent(patience)) from error
        except (OSError, EOFError) as error:
            if self._channel.get_transport().is_active():
                self._read_id()  # what never began says why
            raise self._lost(error) from error

    def close_input(self) -> None:
        """End its standard input."""
        try:
            self._channel.shutdown_write()
        except (OSError, EOFError):
            return  # it has ended, or the link has: reading will tell which

    def pieces(self) -> Iterator[bytes]:
        """Its standard output as it comes.

        Raises:
            ConnectionFailed: the time is up.
        """
        self._read_id()
        while True:
            if self._buffer:
                yield bytes(self._buffer)
                self._buffer.clear()
            if not self._fill():
                return

    def line(self, *, within: float | None = None) -> str | None:
        """The next line of its standard output; None at the end.

        Args:
            within: seconds to wait for it, when less than its limit.

        Raises:
            ConnectionFailed: the time is up.
        """
        self._read_id()
        return self._line(within)

    def lines(self, *, silence: float | None = None) -> Iterator[str]:
        """All lines of its standard output.

        Args:
            silence: seconds without a line after which it is given up.

        Raises:
            ConnectionFailed: the time is up, or it was silent for so long.
        """
        while (line := self.line(within=silence)) is not None:
            yield line

    def wait(self) -> int:
        """Its exit status.

        Raises:
            ConnectionFailed: the link dropped before it was known, or the time was up.
        """
        if not self._channel.status_event.wait(self._left()):
            raise self._too_long()
        self._ended = True
        code = int(self._channel.recv_exit_status())
        if code == -1 and not self._channel.get_transport().is_active():
            raise self._lost(None)
        if code in TIMED_OUT and time.monotonic() - self._started >= self.limit:
            raise self._too_long()
        self._listener.join(GRACE)
        return code

    def ended(self) -> bool:
        """Whether it has ended by itself. One that is ending is waited for."""
        return bool(self._channel.status_event.wait(GRACE) and self._channel.exit_status >= 0)

    def ended_with(self, code: int) -> bool:
        """Whether it has ended, with that exit status. One that is ending is waited for."""
        ended = self._channel.status_event.wait(GRACE)
        return bool(ended and self._channel.exit_status == code)

    def errors(self) -> str:
        """The tail of its standard error."""
        return b"".join(self._errors).decode("utf-8", "replace").strip()

    def kill(self) -> None:
        """End it and all it started."""
        if not self._channel.get_transport().is_active():
            return
        if self._id is None and not self._channel.closed:
            self._deadline = min(self._deadline, time.monotonic() + GRACE)
            # behind what a shell may have printed
            with suppress(ConnectionFailed):
                while self._id is None and (line := self._line(None)) is not None:
                    self._id = _id_in(line)
        if self._id is not None and not self._channel.exit_status_ready():
            self._kill(self._id)
        self._ended = True

    def _listen(self) -> None:
        """Keep standard error flowing, so that it never blocks the command."""
        while True:
            try:
                piece = self._channel.recv_stderr(1 << 15)
            except TimeoutError:
                continue
            except OSError:
                return
            if not piece:
                return
            self._errors.append(piece)
            self._on_errors(piece)

    def _read_id(self) -> None:
        if self._id is None:
            first = self._line(None)
            self._id = _id_in(first or "")
            if first != f"{BEGINS} {self._id}":
                raise self._kept_from_beginning(first)

    def _kept_from_beginning(self, first: str | None) -> EdgewrightError:
        """Why the first line of output is none of ours: what the login's shell did."""
        files = "its start files (.bashrc, .profile)"
        if first is not None and (self._id is not None or not self._ends_at_once()):
            return DeviceRefused(
                f"{self.name}: the login's shell prints something before any command",
                detail=re.sub(rf"{BEGINS} \d+$", "", first)[:200],
                resolution=f"make {files} silent for commands of ssh: ssh HOST true prints nothing",
            )
        if not self._channel.get_transport().is_active():
            return self._lost(None)
        self._channel.status_event.wait(GRACE)
        self._listener.join(GRACE)
        status = self._channel.exit_status
        said = "\n".join(part for part in (first, self.errors()) if part)
        return DeviceRefused(
            f"{self.name}: the login's shell ends before it runs a command",
            detail=f"exit status {status}\n{said}".strip(),
            resolution=f"give the user a shell that runs commands, and have {files} not exit: "
            "ssh HOST true succeeds then",
        )

    def _ends_at_once(self) -> bool:
        """Whether it has printed all it will: a shell that runs no command ends after its words."""
        with suppress(ConnectionFailed):
            while not self._buffer:
                if not self._fill(SHORTLY):
                    return True
        return False

    def _line(self, within: float | None) -> str | None:
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > LONGEST_LINE:
                raise ConnectionFailed(f"{self.name}: {self.what} prints an endless line")
            if not self._fill(within):
                if not self._buffer:
                    return None
                end = len(self._buffer)
                break
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line.decode("utf-8", "replace")

    def _fill(self, within: float | None = None) -> bool:
        left = self._left()
        patience = left if within is None else min(left, within)
        self._channel.settimeout(patience)
        try:
            piece = self._channel.recv(1 << 16)
        except TimeoutError as error:
            raise (self._too_long() if patience == left else self._silent(patience)) from error
        except OSError as error:
            raise self._lost(error) from error
        self._buffer += piece
        return bool(piece)

    def _left(self) -> float:
        return max(0.01, self._deadline - time.monotonic())

    def _too_long(self) -> ConnectionFailed:
        seconds = time.monotonic() - self._started
        return ConnectionFailed(
            f"{self.name}: {self.what} took too long",
            detail=f"ended after {seconds:.0f} s\n{self.errors()}".strip(),
            resolution="look at the device's load and its disk, then run the same command again",
        )

    def _silent(self, seconds: float) -> ConnectionFailed:
        return ConnectionFailed(
            f"{self.name}: {self.what} has said nothing for {seconds:.0f} s",
            detail=self.errors(),
            resolution="see whether the device still answers, then run the same command again",
        )

    def _lost(self, error: BaseException | None) -> ConnectionFailed:
        return ConnectionFailed(
            f"{self.name}: the connection was lost",
            detail=(str(error) if error is not None else "") or self.errors(),
            resolution="run the same command again; the device still runs what it ran before",
        )


def _id_in(line: str) -> int | None:
    """The process id that a line of output ends with; None for one that is none of ours."""
    found = re.search(rf"{BEGINS} ([0-9]{{1,9}})$", line)
    return int(found[1]) if found else None
