"""A kill at any system call, and one more during recovery: the old or the new release, whole."""

from __future__ import annotations

import random

from tests.faults import device
from tests.faults.bench import LONG, OPERATIONS, SEED, Bench, say, with_strace

pytestmark = with_strace
DOUBLE = 500 if LONG else 60


def kills(bench: Bench) -> int:
    count = 0
    for name in OPERATIONS:
        for point in bench.points(name):
            bench.reset(name)
            work, allowed, new = bench.work(name, bench.root)
            ended = device.run(work, device.kill_at(point), scratch=bench.folder)
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
        work, allowed, _new = bench.work(name, bench.root)
        device.run(work, device.kill_at(first), scratch=bench.folder)
        again = lambda h: device.deploy(bench.agent, bench.root, bench.bundles[3], h)  # noqa: E731
        ended = device.run(again, device.kill_at(second), scratch=bench.folder)
        bench.check(bench.root, ended, [*allowed, bench.bundles[3]], bench.bundles[3], what)
        bench.recover(bench.root, count, what)
        count += ended.killed
        if count == wanted:
            break
    return count


def test_a_kill_at_every_call_leaves_the_old_or_the_new_release(bench: Bench) -> None:
    say("kill points", kills(bench))


def test_a_second_kill_during_recovery_does_no_more_harm(bench: Bench) -> None:
    count = double_kills(bench, DOUBLE)
    say("double kills", count)
    assert count == DOUBLE
