"""What the user sees: progress and errors on stderr, results on stdout.

The only module that prints. On a terminal a step is one live line; elsewhere (CI, a file) it is a
line when it begins, one now and then, and one when it ends.
"""

from __future__ import annotations

import functools
import json
import logging
import math
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn, ParamSpec, TypeVar

from rich.live import Live
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from toolchain.commandline.terminal import Terminal, visible
from toolchain.core.errors import EdgewrightError

QUIET_S = 20.0
INTERRUPTED = 130
# Ctrl-C, `kill`, and a terminal that is closed
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STATE_COLOURS = {"waiting": "dim", "skipped": "dim", "running": "cyan", "done": "green",
                 "unchanged": "green"}  # fmt: skip


def _nothing() -> object:
    """What is done at the start of a program that is none of tasks."""


# done once before the first task of a process
at_start = _nothing

# what tasks are run with: messages that name a task name it as the reader can run it
task_command = "invoke"

out = Terminal()
err = Terminal(stderr=True)

P = ParamSpec("P")
R = TypeVar("R")
Say = Callable[[str], None]


def note(text: str) -> None:
    """A line for the reader, on stderr."""
    err.print(_as_run(text), soft_wrap=True)


def _as_run(text: str) -> str:
    """A text in which the tasks it names have the command that the reader has."""
    return re.sub(r"\binvoke (?=[a-z-])", f"{task_command} ", text)


def can_ask() -> bool:
    """Whether someone sits there to answer a question."""
    return bool(sys.stdin and sys.stdin.isatty() and err.is_terminal)


def ask(question: str) -> str:
    """What the reader answers, without blanks around it; empty for no answer."""
    err.print(f"{visible(question)} ", end="", markup=False)
    return sys.stdin.readline().strip()


def show_json(value: object) -> None:
    """A result for programs, on stdout; JSON has null alone for what is no finite number."""
    text = json.dumps(_finite(value), indent=1, sort_keys=True, allow_nan=False)
    sys.stdout.write(text + "\n")


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A result for people, on stdout."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    out.print(table)


@contextmanager
def step(title: str) -> Iterator[Say]:
    """Show that something runs: what, for how long, and its last line.

    Yields:
        a function that takes the current line.
    """
    started = time.monotonic()
    show = _live if err.is_terminal else _now_and_then
    try:
        with show(title, started) as say:
            yield say
    except BaseException:
        err.print(Text.assemble(("✗", "red"), f" {title} ", (_elapsed(started), "dim")))
        raise
    err.print(Text.assemble(("✓", "green"), f" {title} ", (_elapsed(started), "dim")))


@contextmanager
def _live(title: str, _started: float) -> Iterator[Say]:
    """One line on a terminal: its clock runs on while the step says nothing."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        TextColumn("{task.fields[line]}", style="dim", markup=False),
    )
    with Progress(*columns, console=err, transient=True) as progress:
        shown = progress.add_task(visible(title), total=None, line="")
        room = max(20, err.width - len(title) - 16)
        yield lambda line: progress.update(shown, line=visible(line.strip()[:room]))


@contextmanager
def _now_and_then(title: str, started: float) -> Iterator[Say]:
    """A line when it begins and one every `QUIET_S`, whether the step says anything or not."""
    note(f"… {title}")
    latest = ""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(QUIET_S):
            note(f"  {title} {_elapsed(started)}: {latest[:90]}")

    def say(line: str) -> None:
        nonlocal latest
        latest = line.strip() or latest

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield say
    finally:
        over.set()
        thread.join()


@contextmanager
def board(title: str, names: Sequence[str]) -> Iterator[Callable[[str, str, str], None]]:
    """Show what several devices do: a live table on a terminal, elsewhere a line for each end.

    Yields:
        a function that takes (name, state, line) from any thread; `running` is no end.
    """
    started = time.monotonic()
    states = dict.fromkeys(names, ("waiting", ""))

    def drawn() -> Table:
        table = Table(title=f"{title} {_elapsed(started)}", title_justify="left")
        for column in ("host", "", "step"):
            table.add_column(column, no_wrap=True)
        for name, (state, line) in states.items():
            colour = STATE_COLOURS.get(state, "red")
            table.add_row(name, Text(state, style=colour), line.strip()[:70])
        return table

    def show(name: str, state: str, line: str) -> None:
        states[name] = (state, line)
        if not err.is_terminal and state != "running":
            note(f"  {name}: {state} {_elapsed(started)} {line}".rstrip())

    if err.is_terminal:
        with Live(get_renderable=drawn, console=err, refresh_per_second=4, transient=True):
            yield show
        return
    with _now_and_then(title, started) as say:

        def said(name: str, state: str, line: str) -> None:
            show(name, state, line)
            ended = sum(s not in ("waiting", "running") for s, _ in states.values())
            say(f"{ended} of {len(states)} ended; {name}: {line or state}")

        yield said


def _elapsed(started: float) -> str:
    minutes, seconds = divmod(int(time.monotonic() - started), 60)
    return f"{minutes}:{seconds:02d}"


def counter(say: Say) -> Callable[[int, int, str], None]:
    """Show (done, all, name) as a step's current line."""
    return lambda done, count, name: say(f"{done}/{count} {name}")


def guarded(body: Callable[P, R]) -> Callable[P, R]:
    """Wrap a task: our errors become three lines and an exit code; ending it early cleans up."""

    @functools.wraps(body)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        for number in ENDING:
            # nohup has it ignored
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, _interrupt)
        try:
            _begin()
            return body(*args, **kwargs)
        except EdgewrightError as error:
            if logging.getLogger("invoke").isEnabledFor(logging.DEBUG):
                raise
            show_error(error)
            sys.exit(error.exit_code)
        except KeyboardInterrupt as interrupt:
            note("interrupted; what was begun is cleaned up")
            for line in getattr(interrupt, "__notes__", ()):
                note(line)
            sys.exit(INTERRUPTED)

    return wrapper


@functools.cache
def _begin() -> None:
    # whoever can write in the cache or in dist/ decides what runs here and on devices; a group may
    os.umask(os.umask(0o077) | 0o002)
    at_start()


def show_error(error: EdgewrightError) -> None:
    """The three parts of an error, on stderr."""
    err.print(Text.assemble(("error:", "bold red"), f" {error.brief}"), soft_wrap=True)
    for line in error.detail.rstrip().splitlines():
        err.print(Text(f"  {line}", style="dim"), soft_wrap=True)
    if error.resolution:
        resolution = f" {_as_run(error.resolution)}"
        err.print(Text.assemble(("what to do:", "bold"), resolution), soft_wrap=True)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    # a second one would interrupt the cleaning up
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
