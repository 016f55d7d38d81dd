"""A long life of one device: random deployments and rollbacks, each with a random fault or none.

What was reported is held against what the device runs: there is never a success that is none.
EDGEWRIGHT_FAULTS=long runs a thousand.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

from tests.support.faults import device, traced
from tests.support.faults.bench import LONG, SEED, Bench, with_strace
from tests.support.faults.device import Agent
from tests.support.faults.disk_errors import FAILING
from tests.support.faults.traced import Point

pytestmark = with_strace
HISTORY = 1000 if LONG else 40


def fault(chance: random.Random, points: list[Point]) -> str:
    """A kill, an error once, or an error from then on; nothing in a fifth of all."""
    kind, point = chance.choice(["kill", "once", "for good", "kill", "none"]), chance.choice(points)
    if kind == "none":
        return ""
    if kind == "kill":
        return traced.kill_at(point)
    name = chance.choice([n for n, calls in FAILING.items() if point.call in calls] or ["EIO"])
    return traced.fail_at(point, name) + ("+" if kind == "for good" else "")


def test_no_success_is_reported_that_is_none(folder: Path) -> None:
    bench = Bench(folder, Agent())
    bench.reset("deploy")
    points = bench.points("deploy")
    bench.reset("deploy")
    chance = random.Random(SEED)  # noqa: S311 (a seed is the point)
    runs, seen = device.running(bench.root), Counter[str]()
    for number in range(HISTORY):
        target = chance.randrange(4)
        back = chance.random() < 0.2
        injected = fault(chance, points)
        work = (
            (lambda h: device.rollback(bench.agent, bench.root, h))
            if back
            else (lambda h, t=target: device.deploy(bench.agent, bench.root, bench.bundles[t], h))
        )
        ended = traced.run(work, injected, scratch=folder)
        what = f"{number}: {'rollback' if back else f'deploy {target}'}, {injected or 'no fault'}"
        # a fault at the n-th call may come to one that reads the bundle, which is no device's
        of_the_bundle = any(f"'{folder}/" in ended.crash for folder in bench.bundles)
        assert not ended.crash or of_the_bundle, f"{what}: {ended.crash}"
        new = device.running(bench.root)
        success = not ended.killed and not ended.error and not ended.crash
        if success and not back:
            assert new == device.identity(bench.bundles[target]), f"{what}: a false success"
        elif not success and not {"confirm", "rollback"} & set(ended.done):
            assert new == runs or injected, f"{what}: changed and not said"
        wrong = device.problems(bench.root, bench.bundles, [*bench.bundles])
        assert not wrong, f"{what}: {wrong}"
        reached = "done" if success else "killed" if ended.killed else "failed"
        seen["fault, " * ended.hit + reached] += 1
        runs = new
    print(f"history of {HISTORY}: " + ", ".join(f"{k} {v}" for k, v in sorted(seen.items())))  # noqa: T201
    assert seen["fault, killed"] > 0
    assert seen["done"] > 0
