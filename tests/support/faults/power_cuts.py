"""Power cuts of a device on a disk of its own."""

from __future__ import annotations

import itertools
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.faults import traced
from tests.support.faults.bench import OPERATIONS, SEED, Bench
from tests.support.faults.cores import on_every_core
from tests.support.faults.device import Agent
from tests.support.faults.powercut import Disk
from tests.support.faults.traced import Ended, Point

# how long after a step's report at most, in seconds: longer than most steps take
MOMENT = 0.02


@dataclass(frozen=True, kw_only=True)
class Cut:
    """When the power goes.

    Attributes:
        name: of what is done.
        point: before that call; None for another moment.
        steps, seconds: or so long after so many steps were reported; None when all is done.
    """

    name: str
    point: Point | None = None
    steps: int | None = None
    seconds: float = 0.0

    def __str__(self) -> str:
        later = f"{self.seconds:.4f} s after step {self.steps}"
        return f"{self.name} at {self.point or ('its end' if self.steps is None else later)}"

    @property
    def kind(self) -> str:
        """What it is counted as."""
        return "random" if self.steps is not None else "at a call" if self.point else "at the end"


def cuts(bench: Bench, wanted: int, seed: int) -> Iterator[Cut]:
    """Right after all is done; then at each call from the last to the first; then at random.

    The last calls first: there a lost fsync shows. Fewer calls when fewer are wanted.
    """
    every = [Cut(name="rollback"), Cut(name="deploy")]
    for name in ("rollback", "deploy"):
        points = bench.points(name)
        thinned = points[::-1][:: max(1, len(points) // wanted)]
        every += [Cut(name=name, point=point) for point in thinned]
    yield from every[: max(2, wanted * 2 // 3) if wanted < len(every) else None]
    chance = random.Random(seed)  # noqa: S311 (a seed is the point)
    steps = {name: len(bench.whole(name).done) for name in OPERATIONS}
    while True:
        name = chance.choice(["deploy", *OPERATIONS])
        after = chance.randrange(steps[name] + 1)
        yield Cut(name=name, steps=after, seconds=chance.random() * MOMENT)


def power_cuts(bench: Bench, disk: Disk, chosen: Iterator[Cut]) -> Counter[str]:
    """Cut, look, deploy again; returns how many there were of each kind."""
    empty = disk.content()
    shutil.copytree(bench.template, disk.on(), symlinks=True)
    disk.off()
    two = disk.content()
    done = Counter[str]()
    for turn, cut in enumerate(chosen):
        disk.restore(empty if cut.name == "first deploy" else two)
        root = disk.on()
        ended = _until(bench, disk, cut, root)
        assert ended.killed or cut.point is None, f"{cut} was not reached"
        disk.off()
        root = disk.on()
        try:
            _, allowed, new = bench.work(cut.name, root)
            bench.check(root, ended, allowed, new, f"power cut in {cut}")
            bench.recover(root, turn, f"power cut in {cut}")
        finally:
            disk.off()
        done[cut.kind] += 1
        done["after the report"] += bool({"confirm", "rollback"} & set(ended.done))
    return done


def _until(bench: Bench, disk: Disk, cut: Cut, root: Path) -> Ended:
    work, _, _ = bench.work(cut.name, root)
    if cut.steps is not None:
        return traced.stop(work, cut.steps, cut.seconds, disk.cut)
    try:
        injected = traced.kill_at(cut.point) if cut.point else ""
        return traced.run(work, injected, scratch=bench.folder)
    finally:
        disk.cut()


def cut_on_every_core(
    folder: Path, agent: Agent, wanted: int, kind: str = "ext4", path: str | None = None
) -> Counter[str]:
    """Power cuts of disks of their own, one for each core."""

    def part(number: int, parts: int) -> Counter[str]:
        bench = Bench(folder / f"part{number}", agent)
        with Disk(bench.folder, kind, path) as disk:
            chosen = itertools.islice(cuts(bench, wanted, SEED + number), number, wanted, parts)
            return power_cuts(bench, disk, chosen)

    return sum(map(Counter, on_every_core(part)), Counter[str]())
