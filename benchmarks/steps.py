"""How long the steps take on this machine.

    python -m benchmarks.steps            # everything is built: medians of five runs
    python -m benchmarks.steps --device   # those that talk to a device: medians of seven rounds
    python -m benchmarks.steps --cold     # a fresh clone, an empty cache: make quickstart, once

Times are of whole commands, by a clock. Beside them stand the processor seconds of this machine's
side, which say more where something else runs. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks import device_steps
from benchmarks.device_steps import INVOKE, Step, spent
from toolchain.commandline import console
from toolchain.core import paths, process

RUNS, ROUNDS = 5, 7
WARM: list[tuple[str, list[str], float]] = [
    ("invoke --list", [*INVOKE, "--list"], 0.5),
    ("invoke build-wheels, nothing changed", [*INVOKE, "build-wheels"], 2.0),
]


def timed(step: Step, command: list[str], cwd: Path, env: dict[str, str] | None = None) -> None:
    """Run a command as one round of a step."""
    step.add(spent(partial(process.run, command, cwd=cwd, env=env)))


def warm() -> list[Step]:
    """Each step when everything is built."""
    steps = []
    for name, command, goal in WARM:
        step = Step(name=name, goal=goal)
        for _ in range(RUNS):
            timed(step, command, paths.ROOT)
        steps.append(step)
    quickstart = Step(name="make quickstart, everything built", goal=120.0)
    timed(quickstart, ["make", "--no-print-directory", "quickstart"], paths.ROOT)
    return [*steps, quickstart]


def cold() -> list[Step]:
    """`make quickstart` in a fresh clone with an empty cache; the engine keeps its own images."""
    step = Step(name="make quickstart, from nothing", goal=1500.0)
    with tempfile.TemporaryDirectory(prefix="edgewright-") as folder:
        clone = Path(folder) / "clone"
        process.run(["git", "clone", "--quiet", str(paths.ROOT), str(clone)])
        timed(
            step, ["make", "quickstart"], clone, {"EDGEWRIGHT_CACHE": str(Path(folder) / "cache")}
        )
    return [step]


def device(rounds: int) -> list[Step]:
    """The steps that talk to a device."""
    found: list[Step] = []
    # as for a user, to whom Python does not compile the sources each time
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for measured in (device_steps.add_board, device_steps.restart, device_steps.run):
        with tempfile.TemporaryDirectory(prefix="edgewright-") as folder:
            found += measured(Path(folder), rounds)
    return found


def over(values: Sequence[float]) -> str:
    """The median of seconds, and their range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--cold", action="store_true", help="from nothing")
    which.add_argument("--device", action="store_true", help="those that talk to a device")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of --device")
    asked = parser.parse_args()
    steps = cold() if asked.cold else device(asked.rounds) if asked.device else warm()
    rows = [
        [
            step.name,
            over(step.seconds),
            over(step.processor),
            "" if step.goal is None else f"{step.goal:g}",
            "" if step.goal is None
            else "met" if statistics.median(step.seconds) <= step.goal else "missed",
        ]
        for step in steps
    ]  # fmt: skip
    console.show_table("seconds", ["step", "by the clock", "of processor", "goal", ""], rows)


if __name__ == "__main__":
    main()
