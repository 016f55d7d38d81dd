"""A kill at any program that the shell's agent starts: the old or the new release, whole.

What changes something on the device is a program there, `mv` or `sync`, so a kill before each of
them is one at each step that another process could see. A lost link leaves the process that goes
back; a power cut leaves nobody.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from deploy.agent.state import State
from tests.support.faults.bench import LONG, say
from tests.support.without_python import Board, bundle, own
from toolchain.bundle import assemble
from toolchain.core.errors import EdgewrightError

CHANGING = ("chmod", "cp", "ln", "mkdir", "mv", "rm", "setsid", "sync")
# counts the programs that are started, and ends its own process group before one of them
COUNTED = """\
#!/bin/sh
read -r count < "$HOME/count"
echo $((count + 1)) > "$HOME/count"
read -r stop < "$HOME/stop"
[ "$count" != "$stop" ] || kill -KILL 0
exec {program} "$@"
"""
NEVER, SHORT = -1, 12


class Counted(Board):
    """A board whose programs that change something are counted."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, "dash")
        for name in CHANGING:
            program = home / "bin" / name
            program.write_text(COUNTED.format(program=shutil.which(name)))
            program.chmod(0o755)
        self.stop_before(NEVER)

    def stop_before(self, number: int) -> None:
        """Have the agent killed before the program of that number, counted from now on."""
        (self.home / "stop").write_text(f"{number}\n")
        (self.home / "count").write_text("0\n")

    def started_programs(self) -> int:
        """How many were started since."""
        return int((self.home / "count").read_text())

    def cut_power(self) -> None:
        """Nothing of ours runs any more: not what would go back either."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                if f"watch\0{self.root}\0".encode() in path.read_bytes():
                    os.kill(int(path.parent.name), signal.SIGKILL)


Work = Callable[[], object]


@pytest.fixture
def bundles(folder: Path) -> list[Path]:
    files = {"lib/large.bin": b"\0" * 3000, "share/a b": b"same"}
    return [bundle(folder / str(n), {**files, "share/n": b"%d" % n}) for n in range(2)]


@pytest.mark.parametrize("power", [False, True], ids=["link lost", "power cut"])
def test_a_kill_before_any_program_leaves_the_old_or_the_new_release(
    folder: Path, bundles: list[Path], *, power: bool
) -> None:
    template = Counted(folder / "template")
    first = template.deploy(bundles[0]).folder
    template.stop_before(NEVER)
    second = template.deploy(bundles[1]).folder
    asked = template.started_programs()
    every = range(asked) if LONG else range(0, asked, max(1, asked // SHORT))
    cut = 0
    for number in every:
        board = Counted(folder / f"board{number}{power}")
        board.deploy(bundles[0])
        board.stop_before(number)
        with suppress(EdgewrightError):
            board.deploy(bundles[1])
        cut += board.started_programs() <= number + 1
        if power:
            board.cut_power()
        board.stop_before(NEVER)
        state = State(str(board.root))
        # nobody has confirmed it yet: who is left, with the lock in its hand, goes back
        waited = time.monotonic() + 20
        while state.holder() is not None and time.monotonic() < waited:
            time.sleep(0.05)
        running = state.linked("current")
        assert running in (first, second), number
        assert state.whole(running or ""), number
        # killed before who goes back was there, it has switched nothing
        assert power or state.pending() is None or running == first, number
        assert board.deploy(bundles[1]).release == assemble.load(own(bundles[1])).release
        assert state.whole(state.linked("current") or ""), number
        assert [r["release"] for r in state.releases()] == [
            assemble.load(own(one)).release for one in bundles
        ], number
        assert board.debris() == [], number
        shutil.rmtree(board.home)
    say(f"kills, {'power cut' if power else 'link lost'}, of {asked} programs", cut)
    assert cut >= len(every) - 1
