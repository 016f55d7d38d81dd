"""How long each network of the catalogue takes to compile, and what of it has no schedule of ours.

    invoke convert --model NAMES                 # those that are to be measured
    python -m benchmarks.compile_times           # for rv64gc at O3, whatever is converted

Each is compiled once with an empty cache as `invoke compile` does it for one network: the graph is
prepared, then compiled for the target and for this machine, whose code is checked against the
source; linking, which takes an image, is left out. Seconds by the clock mean something on a quiet
machine alone; those of processors are of all processes. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from toolchain import targets
from toolchain.commandline import console
from toolchain.compile import compilation
from toolchain.compile.compilation import Linker
from toolchain.core import paths
from toolchain.core.store import Store
from toolchain.core.worker import Progress
from toolchain.models import catalogue

GOAL = 60.0  # seconds of a network
UNSCHEDULED = "without a schedule of ours: "  # a compilation's line about them
MADE = shutil.ignore_patterns("*.so")  # in a model's folder: libraries of before


@dataclass(frozen=True, kw_only=True)
class Compilation:
    """One network's: seconds by the clock, of processors, and its functions without a schedule."""

    name: str
    seconds: float
    processor: float
    unscheduled: str


def keep(objects: list[Path], output: Path, _progress: Progress) -> None:
    """In place of a link: one of the objects."""
    shutil.copyfile(objects[0], output)


def compiled(name: str, folder: Path, target: str, level: int) -> Compilation:
    """Compile a converted network in a folder that is its own."""
    said: list[str] = []
    linker = Linker(identity="benchmark", link=keep, image=lambda: "")
    with tempfile.TemporaryDirectory(prefix="edgewright-") as scratch:
        place = Path(scratch) / "model"
        shutil.copytree(folder, place, ignore=MADE)
        cache = Store(Path(scratch) / "cache")
        started, before = time.monotonic(), _processor()
        compilation.compile_model(
            place, targets.target(target), level, linker=linker, progress=said.append, cache=cache
        )
        return Compilation(
            name=name,
            seconds=time.monotonic() - started,
            processor=_processor() - before,
            unscheduled="".join(s.removeprefix(UNSCHEDULED) for s in said if UNSCHEDULED in s),
        )


def _processor() -> float:
    """Seconds of processors that this process and those that it waited for have had."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="rv64gc")
    parser.add_argument("--opt-level", type=int, default=3)
    parser.add_argument("--model", default="", help="names, by commas; all that are converted")
    parser.add_argument("--models", type=Path, default=paths.dist() / "models")
    chosen = parser.parse_args()
    names = chosen.model.split(",") if chosen.model else list(catalogue.entries())
    rows = []
    for name in names:
        folder = chosen.models / name / "b1"
        if not folder.is_dir():
            continue
        one = compiled(name, folder, chosen.target, chosen.opt_level)
        verdict = "met" if one.seconds <= GOAL else "missed"
        rows.append(
            [name, f"{one.seconds:.1f}", f"{one.processor:.1f}", verdict, one.unscheduled or "none"]
        )
        console.note(f"{name}: {one.seconds:.1f} s, {one.processor:.1f} of processors")
    console.show_table(
        f"compiling for {chosen.target} at O{chosen.opt_level}; goal {GOAL:g} s each",
        ["network", "seconds", "processors' seconds", "", "without a schedule of ours"],
        rows,
    )


if __name__ == "__main__":
    main()
