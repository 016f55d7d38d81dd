"""The tests' own sshd is the one that answers."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support import sshd
from tests.support.sshd import Sshd, free_port


def test_a_port_that_another_has_is_not_taken_for_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sshd, "TRIES", 5)
    first, second = Sshd(tmp_path / "first"), Sshd(tmp_path / "second")
    first.start()
    try:
        second.port = first.port
        with pytest.raises(AssertionError, match="in use"):
            second.start()
    finally:
        first.stop()
        second.stop()


def test_its_port_is_given_to_nobody_before_it_starts(tmp_path: Path) -> None:
    server = Sshd(tmp_path / "device")
    with pytest.raises(OSError, match="in use"), socket.socket() as other:
        other.bind(("127.0.0.1", server.port))
    assert server.port not in {free_port() for _ in range(200)}
    server.start()
    server.stop()
    server.start()
    server.stop()
