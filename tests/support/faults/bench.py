"""What the tests of kills, disk errors and power cuts share: a device and what is done to it.

EDGEWRIGHT_FAULTS=long runs the long form of them all, EDGEWRIGHT_SEED with other chances. See
docs/explanation/reliability.md.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from deploy.agent.state import State
from tests.support.bundles import make_bundle
from tests.support.faults import device, traced
from tests.support.faults.device import Agent
from tests.support.faults.traced import Ended, Point, Work
from toolchain.core.errors import EdgewrightError

LONG = os.environ.get("EDGEWRIGHT_FAULTS") == "long"
SEED = int(os.environ.get("EDGEWRIGHT_SEED", "6"))
OPERATIONS = ("deploy", "first deploy", "switch back", "rollback")

with_strace = pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is not installed: apt-get install strace"
)


class Bench:
    """Bundles one to four, a device that ran the first and runs the second, and what is tried.

    Attributes:
        agent: the one under test; `good` always is the product's.
    """

    def __init__(self, folder: Path, agent: Agent) -> None:
        self.folder, self.agent, self.good = folder, agent, Agent()
        folder.mkdir(exist_ok=True)
        self.bundles = [
            make_bundle(folder / str(n), version=f"{n}.0", extra={"models/m": bytes([n]) * 70_000})
            for n in (1, 2, 3, 4)
        ]
        self.template, self.root = folder / "template", folder / "device"
        for made in self.bundles[:2]:
            device.deploy(self.good, self.template, made, keep=3)

    def work(self, name: str, root: Path) -> tuple[Work, list[Path | None], Path]:
        """What is cut off, the releases that may run then, the one that runs after it is done."""
        agent, one, two, three = self.agent, *self.bundles[:3]
        if name == "rollback":
            return lambda h: device.rollback(agent, root, h), [one, two], one
        target = one if name == "switch back" else three
        old = None if name == "first deploy" else two
        return lambda h: device.deploy(agent, root, target, h), [old, target], target

    def reset(self, name: str) -> None:
        device.copy(self.folder / "none" if name == "first deploy" else self.template, self.root)

    def whole(self, name: str) -> Ended:
        """What it does when nothing disturbs it."""
        self.reset(name)
        ended = traced.run(self.work(name, self.root)[0], scratch=self.folder)
        assert not ended.error, ended
        assert not ended.crash, ended
        assert ended.points
        return ended

    def points(self, name: str) -> list[Point]:
        return self.whole(name).points

    def check(
        self, root: Path, ended: Ended, allowed: list[Path | None], new: Path, what: object
    ) -> None:
        """Old or new, whole, and new when that was reported."""
        assert not ended.crash, f"{what}: {ended.crash}"
        reported = {"confirm", "rollback"} & set(ended.done)
        wrong = device.problems(root, self.bundles, [new] if reported else allowed)
        assert not wrong, f"{what}: {wrong}"

    def recover(self, root: Path, turn: int, what: object) -> None:
        """The next deployment, whichever it is, succeeds and leaves nothing behind."""
        if pending := State(str(root)).pending():
            device.take_lock(self.agent, root)
            now = {"back": State(str(root)).linked("current"),
                   "previous": State(str(root)).linked("previous")}  # fmt: skip
            assert now == pending, f"{what}: not as before: {now}"
        target = self.bundles[turn % 4]
        try:
            done = device.deploy(self.agent, root, target)
        except (EdgewrightError, OSError, ValueError) as error:
            detail = getattr(error, "detail", "")
            raise AssertionError(f"{what}: the next deploy: {error}: {detail}") from error
        wrong = device.problems(root, self.bundles, [target])
        wrong += device.debris(root) if done.status == "done" else []
        previous = State(str(root)).linked("previous")
        if previous is not None and not (root / "releases" / previous).is_dir():
            wrong.append("the previous release is gone")
        assert not wrong, f"{what}: after the next deploy: {wrong}"


def say(what: str, count: int) -> None:
    print(f"{what}: {count}")  # noqa: T201 (the counts are the result)
    assert count > 0
