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
from tests.support.faults.mutants import MUTANTS
from tests.support.faults.power_cuts import cut_on_every_core
from toolchain.core.errors import EdgewrightError

pytestmark = with_strace


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
            said = str(error).splitlines() or [type(error).__name__]
            return f"{name}: {said[0][:110]}"
    return None
