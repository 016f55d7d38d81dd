"""Errors of a disk at each call that can fail, and bits that flip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from deploy.agent.state import State
from tests.support.faults import device, traced
from tests.support.faults.bench import Bench
from tests.support.faults.traced import Point
from toolchain.bundle import assemble
from toolchain.core.errors import ReleaseError

FAILING = {
    "EIO": ("write", "pwrite64", "fsync", "rename", "sendfile", "copy_file_range", "link"),
    "ENOSPC": ("openat", "write", "pwrite64", "rename", "mkdir", "link", "symlink"),
    "EROFS": ("openat", "rename", "mkdir", "link", "symlink", "unlink", "unlinkat", "chmod"),
}


# what says that a switch holds
DONE = {"confirm", "rollback"}


def done_before(bench: Bench, name: str, point: Point) -> bool:
    """Whether the switch holds when the work comes to that call."""
    bench.reset(name)
    work, _, _ = bench.work(name, bench.root)
    return DONE & set(traced.run(work, traced.kill_at(point), scratch=bench.folder).done) != set()


def errors(
    bench: Bench, step: int, lasting: str = "", names: Sequence[str] = ("deploy",)
) -> Counter[str]:
    """Each call that can fail does, once, or with `+` from then on; how many of each error."""
    count = Counter[str]()
    for name in names:
        points = bench.points(name)
        for error, calls in FAILING.items():
            for point in [p for p in points if p.call in calls][::step]:
                error_at(bench, name, point, error, lasting, turn=count.total())
                count[error] += 1
    return count


def error_at(bench: Bench, name: str, point: Point, error: str, lasting: str, *, turn: int) -> None:
    what = f"{error} in {name} at {point}{lasting}"
    must_tell = point.call == "fsync" and not done_before(bench, name, point)
    bench.reset(name)
    work, allowed, new = bench.work(name, bench.root)
    ended = traced.run(work, traced.fail_at(point, error) + lasting, scratch=bench.folder)
    assert ended.hit, f"{what} was not reached"
    bench.check(bench.root, ended, allowed, new, what)
    # Once the switch holds the work is done; before that each fault is told.
    assert ended.error or DONE & set(ended.done), f"{what}: nobody was told"
    assert ended.error or not must_tell, f"{what}: kept quiet"
    assert not ended.error or "disk" in ended.error or "written" in ended.error, ended.error
    bench.recover(bench.root, turn, what)


def flipped_bits(bench: Bench) -> int:
    """Bits that change on the way, among what is kept, and in a release that is complete."""
    count = 0
    flip: Callable[[bytes], bytes] = lambda b: bytes([b[0] ^ 1]) + b[1:]  # noqa: E731
    for number in (1, 2, 3):
        bench.reset("deploy")
        turn = iter(range(100))
        device.deploy(
            bench.agent, bench.root, bench.bundles[2],
            flip=lambda b, n=number, t=turn: flip(b) if next(t) == n - 1 else b,  # type: ignore[misc]
        )  # fmt: skip
        wrong = device.problems(bench.root, bench.bundles, [bench.bundles[2]])
        assert not wrong, f"a bit flipped on the way: {wrong}"
        count += 1
    bench.reset("deploy")
    with pytest.raises(ReleaseError, match="damaged"):
        device.deploy(bench.agent, bench.root, bench.bundles[2], flip=flip)
    bench.recover(bench.root, 2, "each try flipped")
    for file in assemble.load(bench.bundles[0]).files:
        bench.reset("deploy")
        # A blob and the releases' file are one file: both go bad.
        blob = bench.root / "blobs" / file.sha256
        content = blob.read_bytes()
        blob.chmod(0o644)
        blob.write_bytes(flip(content))
        with pytest.raises(ReleaseError, match="damaged"):
            device.rollback(bench.agent, bench.root)
        device.deploy(bench.agent, bench.root, bench.bundles[0])
        state = State(str(bench.root))
        runs = state.linked("current")
        assert runs is not None
        assert state.whole(runs), f"a bad {file.path} runs"
        count += 1
    return count + 1
