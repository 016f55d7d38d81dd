"""The seam to local commands, and how errors reach the user."""

from __future__ import annotations

import signal
import socket
import sys

import pytest

from toolchain.commandline import console
from toolchain.core import process
from toolchain.core.errors import CommandError, EdgewrightError, LockError


def test_output_comes_back_line_by_line() -> None:
    lines: list[str] = []
    script = "import sys; print('a'); print('b', file=sys.stderr, flush=True)"
    text = process.run([sys.executable, "-u", "-c", script], on_line=lines.append)
    assert lines == ["a", "b"]
    assert text == "a\nb\n"


def test_a_failure_holds_status_and_output() -> None:
    with pytest.raises(CommandError) as caught:
        process.run([sys.executable, "-c", "print('why'); raise SystemExit(3)"])
    assert caught.value.returncode == 3
    assert "why" in caught.value.detail


def test_a_command_that_is_not_there_is_an_error_of_ours() -> None:
    with pytest.raises(CommandError, match="no-such-command"):
        process.run(["no-such-command"])


def test_a_commands_streams_are_a_socket_that_ends_it() -> None:
    with process.CommandSocket(["cat"]) as link:
        link.sendall(b"there and back")
        assert link.recv(100) == b"there and back"
        link.shutdown(socket.SHUT_WR)
        assert link.recv(100) == b""
        assert link.errors() == ""
    script = "import os, time; os.write(1, b'x'); time.sleep(600)"
    link = process.CommandSocket([sys.executable, "-c", script])
    assert link.recv(1) == b"x"
    link.close()
    assert link.returncode() == -signal.SIGTERM


def test_what_such_a_command_says_of_its_failure_is_kept() -> None:
    script = "raise SystemExit('no route to it')"
    with process.CommandSocket([sys.executable, "-c", script]) as link:
        assert link.recv(100) == b""
        assert link.errors() == "no route to it\n"
    with pytest.raises(FileNotFoundError):
        process.CommandSocket(["no-such-command"])


def test_arguments_are_never_a_shells_words() -> None:
    hostile = "$(touch x); `id` '\"\n*"
    script = "import sys; sys.stdout.write(sys.argv[1])"
    assert process.run([sys.executable, "-c", script, hostile]) == hostile


def test_an_error_of_ours_is_shown_in_three_parts_and_exits_with_its_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @console.guarded
    def task() -> None:
        raise LockError("it broke", detail="here [red]", resolution="mend it")

    with pytest.raises(SystemExit) as caught:
        task()
    assert caught.value.code == LockError.exit_code
    shown = capsys.readouterr().err
    assert "it broke" in shown
    assert "here [red]" in shown
    assert "what to do: mend it" in shown
    assert "Traceback" not in shown


def test_exit_codes_tell_the_classes_apart() -> None:
    classes = [c for c in EdgewrightError.__subclasses__() if "exit_code" in vars(c)]
    codes = [c.exit_code for c in classes]
    assert len(set(codes)) == len(codes) > 5
    assert all(1 < code < 64 for code in codes)
