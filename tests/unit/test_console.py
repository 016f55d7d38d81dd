"""What a step shows where there is no terminal."""

from __future__ import annotations

import time

import pytest

from toolchain import console


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
