"""Kills at each system call, of a deployment and of what makes it good again."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from deploy.agent.state import State
from tests.support.faults import device, traced
from tests.support.faults.bench import OPERATIONS, SEED, Bench
from tests.support.faults.traced import Point


def kills(bench: Bench) -> int:
    count = 0
    for name in OPERATIONS:
        for point in bench.points(name):
            bench.reset(name)
            work, allowed, new = bench.work(name, bench.root)
            ended = traced.run(work, traced.kill_at(point), scratch=bench.folder)
            assert ended.killed, f"{name}: {point} was not reached"
            bench.check(bench.root, ended, allowed, new, f"{name} killed at {point}")
            bench.recover(bench.root, count, f"{name} killed at {point}")
            count += 1
    return count


def double_kills(bench: Bench, wanted: int) -> int:
    chance, count = random.Random(SEED), 0  # noqa: S311 (a seed is the point)
    points = {name: bench.points(name) for name in OPERATIONS}
    for _ in range(wanted * 4):
        name = chance.choice(OPERATIONS)
        first, second = chance.choice(points[name]), chance.choice(points["deploy"])
        what = f"{name} killed at {first}, then a deploy at {second}"
        bench.reset(name)
        work, allowed, new = bench.work(name, bench.root)
        ended = traced.run(work, traced.kill_at(first), scratch=bench.folder)
        bench.check(bench.root, ended, allowed, new, what)
        before = counted(bench)
        again = lambda h: device.deploy(bench.agent, bench.root, bench.bundles[3], h)  # noqa: E731
        ended = traced.run(again, traced.kill_at(second), scratch=bench.folder)
        bench.check(bench.root, ended, [before, bench.bundles[3]], bench.bundles[3], what)
        bench.recover(bench.root, count, what)
        count += ended.killed
        if count == wanted:
            break
    return count


def counted(bench: Bench) -> Path | None:
    """The bundle that counts as running: one whose switch was not confirmed never will."""
    runs = device.running(bench.root)
    return next((b for b in bench.bundles if device.identity(b) == runs), None)


def kills_while_going_back(
    bench: Bench, names: Sequence[str] = OPERATIONS[:3], step: int = 1
) -> int:
    """After a kill that leaves a switch unconfirmed, one at each call of what undoes it."""
    once, count = bench.folder / "once", 0
    back = lambda _: device.take_lock(bench.agent, bench.root)  # noqa: E731
    for name in names:
        for first in unconfirmed(bench, name)[::step]:
            bench.reset(name)
            work, allowed, new = bench.work(name, bench.root)
            ended = traced.run(work, traced.kill_at(first), scratch=bench.folder)
            bench.check(bench.root, ended, allowed, new, f"{name} killed at {first}")
            before = counted(bench)
            device.copy(bench.root, once)
            for second in traced.run(back, scratch=bench.folder).points:
                what = f"{name} killed at {first}, then going back at {second}"
                device.copy(once, bench.root)
                ended = traced.run(back, traced.kill_at(second), scratch=bench.folder)
                assert ended.killed, what
                bench.check(bench.root, ended, [before], new, what)
                bench.recover(bench.root, count, what)
                count += 1
    return count


def unconfirmed(bench: Bench, name: str) -> list[Point]:
    """The calls before which a switch is noted and not confirmed: they follow each other."""
    found: list[Point] = []
    for point in reversed(bench.points(name)):
        bench.reset(name)
        work, _, _ = bench.work(name, bench.root)
        traced.run(work, traced.kill_at(point), scratch=bench.folder)
        if State(str(bench.root)).pending() is not None:
            found.append(point)
        elif found:
            break
    return found
