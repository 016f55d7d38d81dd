"""The tests of kills, disk errors, deployers and power cuts tested: faults put into the agent.

Each of them has to be noticed by one of those. EDGEWRIGHT_FAULTS=long alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.faults.bench import LONG, Bench, with_strace
from tests.support.faults.deployers import rounds
from tests.support.faults.device import Agent
from tests.support.faults.disk_errors import errors, flipped_bits
from tests.support.faults.kills import kills, kills_while_going_back
from tests.support.faults.power_cuts import cut_on_every_core
from toolchain.core.errors import EdgewrightError

pytestmark = with_strace


MUTANTS = {
    "a file's fsync dropped": ("files", "        os.fsync(stream.fileno())\n", ""),
    "a release not brought to the disk": ("steps", "        fsync_tree(base)\n", ""),
    "the switch not brought to the disk": (
        "files", "    os.replace(temporary, link)\n    fsync_path(root)\n",
        "    os.replace(temporary, link)\n",
    ),
    "the switch in two calls": (
        "files", "    os.replace(temporary, link)\n",
        ("    os.unlink(link) if os.path.lexists(link) else None\n"
        "    os.replace(temporary, link)\n"),
    ),
    "a switch that nothing can undo": ("steps", "        note_return(self)\n", ""),
    "a switch that is not undone": ("steps", "        go_back(self)\n", ""),
    "the confirmation not brought to the disk": (
        "commit_confirmed",
        "        return False\n    fsync_path(state.root)\n", "        return False\n",
    ),
    "a switch undone without what came before": (
        "commit_confirmed", ', ("previous", noted["previous"])', ",",
    ),
    "the lock not taken": (
        "steps", "            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "            pass\n",
    ),
    "a received hash unchecked": ("steps", "        if digest(received) != sha256:\n",
                                  "        if False:\n"),
    "a kept hash unchecked": ("steps", " and digest(blob) == name:", ":"),
    "a rollback to what is damaged": ("steps", "        if not self.whole(back):\n",
                                      "        if False:\n"),
    "a release removed piece by piece": (
        "steps",
        '        for folder in gone:\n            self.discard(self.path("releases", folder))\n',
        ('        for folder in gone:\n'
         '            for name in sorted(os.listdir(self.release(folder)), reverse=True):\n'
         '                remove(self.path("releases", folder, name))\n'
         '            remove(self.release(folder))\n'),
    ),
    "what was cut off not cleared": (
        "steps", "        if self.marker(folder) is None and folder not in running:\n",
        "        if False:\n",
    ),
    "a disk's error kept quiet": ("files", "        os.fsync(descriptor)\n",
                                  ("        try:\n            os.fsync(descriptor)\n"
                                  "        except OSError:\n            pass\n")),
    "the previous release removed": (
        "steps", '        needed = {self.linked("current"), self.linked("previous")}\n',
        '        needed = {self.linked("current")}\n',
    ),
    "a going back forgotten before it is done": (
        "commit_confirmed", '    pairs = (("current"',
        ("    for name in (PENDING, RETURNING):\n"
        "        if os.path.lexists(state.path(name)):\n"
        "            os.unlink(state.path(name))\n"
        '    pairs = (("current"'),
    ),
    "what a cut-off switch left in the way of the next": (
        "files", "    if os.path.lexists(temporary):\n        os.unlink(temporary)\n", "",
    ),
    "a damaged release taken for a whole one": (
        "state", ' and self.whole(entry["folder"]):', ":",
    ),
}  # fmt: skip


# the trial to begin with, where another would only take longer to let the fault through
SHOWN_BY = {
    "a file's fsync dropped": "power cuts",
    "a release not brought to the disk": "power cuts",
    "the switch not brought to the disk": "power cuts",
    "the confirmation not brought to the disk": "power cuts",
    "a disk's error kept quiet": "errors",
    "the switch in two calls": "kills",
    "a switch that is not undone": "kills",
    "a switch undone without what came before": "kills",
    "a release removed piece by piece": "kills",
    "a going back forgotten before it is done": "going back",
    "what a cut-off switch left in the way of the next": "kills",
}


@pytest.mark.skipif(not LONG, reason="the long form alone: EDGEWRIGHT_FAULTS=long")
@pytest.mark.parametrize("name", MUTANTS)
def test_a_fault_seeded_in_the_agent_is_caught(folder: Path, name: str) -> None:
    caught = _caught(folder, MUTANTS[name], SHOWN_BY.get(name, "bits"))
    print(f"{name}: {caught or 'MISSED'}")  # noqa: T201 (the result)
    assert caught


def _caught(folder: Path, mutation: tuple[str, str, str], first: str) -> str | None:
    agent = Agent(mutation)
    bench = Bench(folder, agent)
    trials: dict[str, Callable[[], int]] = {
        "bits": lambda: flipped_bits(bench),
        "deployers": lambda: rounds(bench, 8),
        "kills": lambda: kills(bench),
        "going back": lambda: kills_while_going_back(bench),
        "errors": lambda: errors(bench, 1).total(),
        "power cuts": lambda: cut_on_every_core(folder, agent, 180).total(),
    }
    for name in sorted(trials, key=lambda trial: trial != first):
        try:
            trials[name]()
        except (AssertionError, pytest.fail.Exception, EdgewrightError) as error:
            return f"{name}: {str(error).splitlines()[0][:110]}"
    return None
