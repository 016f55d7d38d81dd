"""How long the steps take on this machine.

    python -m benchmarks.steps            # everything is built: medians of five runs
    python -m benchmarks.steps --cold     # a fresh clone, an empty cache: make quickstart, once

Times are of whole commands, by a clock; the goals stand beside them. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from toolchain.commandline import console
from toolchain.core import paths, process

RUNS = 5
INVOKE = [sys.executable, "-m", "invoke"]
WARM: list[tuple[str, list[str], float]] = [
    ("invoke --list", [*INVOKE, "--list"], 0.5),
    ("invoke build-wheels, nothing changed", [*INVOKE, "build-wheels"], 2.0),
]


def timed(command: list[str], cwd: Path, env: dict[str, str] | None = None) -> float:
    """Seconds that a command takes, from outside."""
    started = time.monotonic()
    process.run(command, cwd=cwd, env=env)
    return time.monotonic() - started


def warm() -> list[tuple[str, list[float], float]]:
    """Name, seconds of each run, and goal of each step when everything is built."""
    found = [
        (name, [timed(command, paths.ROOT) for _ in range(RUNS)], goal)
        for name, command, goal in WARM
    ]
    seconds = timed(["make", "--no-print-directory", "quickstart"], paths.ROOT)
    return [*found, ("make quickstart, everything built", [seconds], 120.0)]


def cold() -> list[tuple[str, list[float], float]]:
    """`make quickstart` in a fresh clone with an empty cache; the engine keeps its own images."""
    with tempfile.TemporaryDirectory(prefix="edgewright-") as folder:
        clone = Path(folder) / "clone"
        process.run(["git", "clone", "--quiet", str(paths.ROOT), str(clone)])
        env = {"EDGEWRIGHT_CACHE": str(Path(folder) / "cache")}
        seconds = timed(["make", "quickstart"], clone, env)
    return [("make quickstart, from nothing", [seconds], 1500.0)]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cold", action="store_true", help="from nothing")
    found = cold() if parser.parse_args().cold else warm()
    rows = [
        [
            name,
            f"{statistics.median(runs):.2f}",
            f"{min(runs):.2f}-{max(runs):.2f}",
            f"{goal:g}",
            "met" if statistics.median(runs) <= goal else "missed",
        ]
        for name, runs, goal in found
    ]
    console.show_table("seconds", ["step", "median", "range", "goal", ""], rows)


if __name__ == "__main__":
    main()
