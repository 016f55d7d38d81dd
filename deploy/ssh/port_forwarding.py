"""A port of this machine's 127.0.0.1 that leads through SSH to one of a device's.

The port stays the same while what it leads to may be replaced, when a connection was lost and
opened again. It knows nothing of what passes.
"""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Protocol, Self

from toolchain.core.errors import EdgewrightError

PIECE = 1 << 16
SHORTLY = 0.1  # seconds


class Stream(Protocol):
    """One end of a connection: a socket, or paramiko's channel."""

    def recv(self, size: int, /) -> bytes:
        """The next bytes; none at the end."""

    def sendall(self, content: bytes, /) -> object:
        """Send them."""

    def settimeout(self, seconds: float | None, /) -> object:
        """How long these two may take."""

    def close(self) -> object:
        """End it, both ways."""


class Forward:
    """A listening port; each connection to it gets a stream of its own.

    Args:
        stall: seconds without a byte from there after which a connection is cut.

    Attributes:
        port: of 127.0.0.1.
    """

    def __init__(self, stall: float) -> None:
        self._stall = stall
        self._open: Callable[[], Stream] | None = None
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(8)
        self.port: int = self._listener.getsockname()[1]
        self._streams: set[Stream] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.lead_to(None)
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def lead_to(self, opening: Callable[[], Stream] | None) -> None:
        """Lead new connections there, or nowhere; those that there are end."""
        self._open = opening
        for stream in list(self._streams):
            _end(stream)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ECONNABORTED):
                    return  # closed
                time.sleep(SHORTLY)  # until others have gone
                continue
            threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        try:
            far = self._open() if self._open is not None else None
        except EdgewrightError:
            far = None  # who connects sees it end, and asks again
        if far is None:
            near.close()
            return
        far.settimeout(self._stall)
        ends: tuple[Stream, Stream] = (near, far)
        self._streams.update(ends)
        out = threading.Thread(target=_pump, args=(near, far), daemon=True)
        out.start()
        _pump(far, near)
        out.join()
        for stream in ends:
            self._streams.discard(stream)
            with suppress(OSError, EOFError):
                stream.close()


def _pump(source: Stream, sink: Stream) -> None:
    """Carry bytes until either end is gone; then neither is of use."""
    with suppress(OSError, EOFError):
        while piece := source.recv(PIECE):
            sink.sendall(piece)
    _end(source)
    _end(sink)


def _end(stream: Stream) -> None:
    """End a stream, whatever waits on it."""
    with suppress(OSError, EOFError):
        if isinstance(stream, socket.socket):
            stream.shutdown(socket.SHUT_RDWR)  # closing wakes no thread that reads
        else:
            stream.close()
