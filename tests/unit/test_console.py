"""What a step shows where there is no terminal."""

from __future__ import annotations

import io
import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from toolchain.commandline import console
from toolchain.commandline.terminal import Terminal, size, visible
from toolchain.core import paths
from toolchain.core.errors import BenchError


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(console, "note", said.append)
    monkeypatch.setattr(console, "QUIET_S", 0.05)
    return said


def wait_for(lines: list[str], count: int) -> None:
    deadline = time.monotonic() + 10
    while len(lines) < count and time.monotonic() < deadline:
        time.sleep(0.01)


def test_json_has_null_for_what_is_no_finite_number(capsys: pytest.CaptureFixture[str]) -> None:
    console.show_json({"a": [math.nan, 1.5], "b": {"c": (math.inf, -math.inf)}})

    def refused(word: str) -> float:
        raise AssertionError(word)

    told = json.loads(capsys.readouterr().out, parse_constant=refused)
    assert told == {"a": [None, 1.5], "b": {"c": [None, None]}}


def test_a_silent_step_still_says_that_it_runs(lines: list[str]) -> None:
    with console.step("building"):
        wait_for(lines, 3)
    assert lines[0] == "… building"
    assert lines[1] == "  building 0:00: "


def test_the_latest_line_is_told_and_nothing_after_the_end(lines: list[str]) -> None:
    with console.step("building") as say:
        say("one")
        say("two\n")
        say("")
        wait_for(lines, 2)
    ended = len(lines)
    assert lines[1].endswith(": two")
    time.sleep(0.2)
    assert len(lines) == ended


def test_a_step_that_fails_stops_its_clock(lines: list[str]) -> None:
    with pytest.raises(ValueError, match="no"), console.step("building"):
        raise ValueError("no")
    ended = len(lines)
    time.sleep(0.2)
    assert len(lines) == ended


def test_several_devices_are_a_line_for_each_end(lines: list[str]) -> None:
    with console.board("deploy", ["a", "b"]) as show:
        show("a", "running", "sending")
        show("b", "running", "sending")
        wait_for(lines, 2)
        show("a", "done", "")
        show("b", "failed", "b: no")
    assert "  deploy 0:00: 0 of 2 ended; b: sending" in lines
    assert "  a: done 0:00" in lines
    assert "  b: failed 0:00 b: no" in lines


def test_on_a_terminal_they_are_a_live_table(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    terminal = Terminal(file=screen, force_terminal=True, width=80)
    monkeypatch.setattr(console, "err", terminal)
    with console.board("deploy", ["a", "[b]"]) as show:
        show("a", "running", "sending [bold]")
        show("[b]", "unknown", "lost")
    text = screen.getvalue()
    for expected in ("running", "sending [bold]", "[b]", "unknown", "lost"):
        assert expected in text


def test_what_an_interrupt_left_is_said(lines: list[str]) -> None:
    @console.guarded
    def body() -> None:
        interrupt = KeyboardInterrupt()
        interrupt.add_note("what was measured is in results/x.json")
        raise interrupt

    with pytest.raises(SystemExit) as ended:
        body()
    assert ended.value.code == console.INTERRUPTED
    assert lines[-1] == "what was measured is in results/x.json"


HOSTILE = [
    "\x1b]0;owned\x07",
    "\x1b[2J",
    "[/x]",
    "ARMv8 [rev 4]",
    ":smile:",
    "\x9b31m",
    "\u202eexe.txt",
]


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a user would see; it has no colours, so every escape in it came from a text."""
    shown = io.StringIO()
    for name in ("out", "err"):
        monkeypatch.setattr(console, name, Terminal(file=shown, width=200))
    return shown


@pytest.mark.parametrize("text", HOSTILE)
def test_text_from_elsewhere_is_shown_and_not_obeyed(screen: io.StringIO, text: str) -> None:
    table = Table(title=text)
    table.add_column(text)
    table.add_row(Text(f"{text} "))  # nothing made it visible before its width was measured
    console.note(text)
    console.show_table(text, [text], [[text]])
    console.show_error(BenchError(text, detail=text, resolution=text))
    console.out.print(table)
    console.out.print(text)
    with console.step(text) as say:
        say(text)
    with console.board(text, [text]) as show:
        show(text, "failed", text)
    seen = screen.getvalue()
    assert seen.count(visible(text).removesuffix("␇")) >= 13
    assert not any(
        (ord(c) < 32 and c != "\n") or 0x7F <= ord(c) < 0xA0 or c == "\u202e" for c in seen
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_on_a_terminal_too(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(console, "err", Terminal(file=shown, force_terminal=True, width=200))
    with console.step(text) as say:
        say(text)
    with console.board(text, [text]) as show:
        show(text, "running", text)
    seen = shown.getvalue()
    assert visible(text) in seen
    assert visible(text) == text or text not in seen


@given(st.text())
def test_what_is_shown_has_as_many_characters_and_none_that_acts(text: str) -> None:
    shown = visible(text)
    assert len(shown) == len(text)
    assert visible(shown) == shown
    assert all(c in "\n\t" or c.isprintable() or c.isspace() or ord(c) > 0xA0 for c in shown)


TASK = """
import sys, time
from toolchain.commandline import console

@console.guarded
def body():
    try:
        print("begun", flush=True)
        time.sleep(60)
    finally:
        print("cleaned up", flush=True)

body()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_kill_and_a_closed_terminal_clean_up(number: signal.Signals) -> None:
    with subprocess.Popen(
        # as from a terminal, whatever the tests themselves were told to ignore
        [sys.executable, "-c", f"import signal\nsignal.signal({number:d}, signal.SIG_DFL)\n{TASK}"],
        cwd=paths.ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "begun\n"
        running.send_signal(number)
        assert running.stdout.read() == "cleaned up\n"
    assert running.returncode == console.INTERRUPTED


def test_under_nohup_a_closed_terminal_ends_nothing() -> None:
    ignored = f"import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n{TASK}"
    with subprocess.Popen(
        [sys.executable, "-c", ignored.replace("sleep(60)", "sleep(0.5)")],
        cwd=paths.ROOT, stdout=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        assert running.stdout is not None
        assert running.stdout.readline() == "begun\n"
        running.send_signal(signal.SIGHUP)
        assert running.stdout.read() == "cleaned up\n"
    assert running.returncode == 0


@pytest.mark.parametrize(
    ("count", "said"), [(88_400, "88.4 kB"), (999_999, "1000.0 kB"), (1_390_000, "1.4 MB")]
)
def test_a_small_file_is_not_said_to_be_empty(count: int, said: str) -> None:
    assert size(count) == said


@pytest.mark.parametrize(("umask", "mode"), [(0o000, 0o664), (0o002, 0o664), (0o077, 0o600)])
def test_what_a_task_writes_nobody_else_can_change(tmp_path: Path, umask: int, mode: int) -> None:
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from toolchain.commandline.console import guarded\n"
        "os.umask(int(sys.argv[1]))\n"
        "guarded(lambda: Path(sys.argv[2]).write_text('made'))()\n"
    )
    made = tmp_path / "made"
    subprocess.run([sys.executable, "-c", program, str(umask), made], cwd=paths.ROOT, check=True)
    assert made.stat().st_mode & 0o777 == mode
