"""A local port that leads elsewhere, and may come to lead nowhere and back."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from deploy.ssh.port_forwarding import Forward
from toolchain.core.errors import ConnectionFailed


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of something that says everything back, in capitals."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(one: socket.socket) -> None:
        with one, suppress(OSError):
            while piece := one.recv(1 << 16):
                one.sendall(piece.upper())

    def serve() -> None:
        with suppress(OSError):
            while True:
                one, _ = listener.accept()
                threading.Thread(target=answer, args=(one,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    with suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def all_of(one: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size and (piece := one.recv(1 << 16)):
        found += piece
    return found


def test_bytes_pass_both_ways_for_several_at_once(echo: int) -> None:
    with Forward(10) as forward:
        forward.lead_to(lambda: connected(echo))
        with connected(forward.port) as first, connected(forward.port) as second:
            for number, one in enumerate((first, second)):
                sent = f"hello {number} ".encode() * 20_000
                threading.Thread(target=one.sendall, args=(sent,), daemon=True).start()
                assert all_of(one, len(sent)) == sent.upper()


def test_where_it_leads_nowhere_a_connection_just_ends(echo: int) -> None:
    def lost() -> socket.socket:
        raise ConnectionFailed("gone")

    with Forward(10) as forward:
        with connected(forward.port) as one:
            assert one.recv(1) == b""
        forward.lead_to(lost)
        with connected(forward.port) as one:
            assert one.recv(1) == b""
        forward.lead_to(lambda: connected(echo))
        with connected(forward.port) as one:
            one.sendall(b"back")
            assert all_of(one, 4) == b"BACK"
            forward.lead_to(None)
            assert one.recv(1) == b""


def test_what_stalls_is_cut(echo: int) -> None:
    with Forward(0.2) as forward:
        forward.lead_to(lambda: connected(echo))
        with connected(forward.port) as one:
            assert one.recv(1) == b""


def test_it_is_gone_after_the_block() -> None:
    with Forward(10) as forward:
        port = forward.port
    with pytest.raises(ConnectionRefusedError):
        connected(port)


class Listener:
    """One whose `accept` fails in these ways, one after another."""

    def __init__(self, *failures: int) -> None:
        self.failures = list(failures)

    def accept(self) -> None:
        raise OSError(self.failures.pop(0), "no more")


def test_it_outlives_a_time_without_descriptors() -> None:
    """Whoever else has a login here can open many connections; a closed listener is the end."""
    listener = Listener(errno.EMFILE, errno.ENFILE, errno.ECONNABORTED, errno.EBADF, errno.EMFILE)
    with Forward(10) as forward:
        forward._listener.close()
        forward._listener = listener  # type: ignore[assignment]  # as far as it is one
        forward._accept()
        assert listener.failures == [errno.EMFILE]
        forward._listener = socket.socket()
