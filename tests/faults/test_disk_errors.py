"""A disk that refuses, once or for good, and one whose bits flip."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deploy.agent.state import State
from tests.faults import device, traced
from tests.faults.bench import LONG, Bench, say, with_strace
from tests.faults.traced import Point
from toolchain import bundle
from toolchain.errors import ReleaseError

pytestmark = with_strace

FAILING = {
    "EIO": ("write", "pwrite64", "fsync", "rename", "sendfile", "copy_file_range", "link"),
    "ENOSPC": ("openat", "write", "pwrite64", "rename", "mkdir", "link", "symlink"),
    "EROFS": ("openat", "rename", "mkdir", "link", "symlink", "unlink", "unlinkat", "chmod"),
}


def confirmed_before(bench: Bench, point: Point) -> bool:
    """Whether the switch was confirmed when a deployment comes to that call."""
    bench.reset("deploy")
    work, _, _ = bench.work("deploy", bench.root)
    return "confirm" in traced.run(work, traced.kill_at(point), scratch=bench.folder).done


def errors(bench: Bench, step: int, lasting: str = "") -> int:
    """Each call that can fail does, once, or with `+` from then on."""
    count = 0
    points = bench.points("deploy")
    for name, calls in FAILING.items():
        for point in [p for p in points if p.call in calls][::step]:
            what = f"{name} at {point}{lasting}"
            must_tell = point.call == "fsync" and not confirmed_before(bench, point)
            bench.reset("deploy")
            work, allowed, new = bench.work("deploy", bench.root)
            ended = traced.run(work, traced.fail_at(point, name) + lasting, scratch=bench.folder)
            assert ended.hit, f"{what} was not reached"
            bench.check(bench.root, ended, allowed, new, what)
            # Once the switch is confirmed the deployment is done; before that each fault is told.
            assert ended.error or "confirm" in ended.done, f"{what}: nobody was told"
            assert ended.error or not must_tell, f"{what}: kept quiet"
            assert not ended.error or "disk" in ended.error or "written" in ended.error, ended.error
            bench.recover(bench.root, count, what)
            count += 1
    return count


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
        assert not device.problems(bench.root, bench.bundles, [bench.bundles[2]])
        count += 1
    bench.reset("deploy")
    with pytest.raises(ReleaseError, match="damaged"):
        device.deploy(bench.agent, bench.root, bench.bundles[2], flip=flip)
    bench.recover(bench.root, 2, "each try flipped")
    for file in bundle.load(bench.bundles[0]).files:
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


def test_a_disk_that_refuses_once_is_told_and_harms_nothing(bench: Bench) -> None:
    say("disk errors", errors(bench, 1))


def test_a_disk_that_refuses_for_good_is_told_and_harms_nothing(bench: Bench) -> None:
    say("disk errors for good", errors(bench, 1 if LONG else 6, "+"))


def test_a_flipped_bit_never_runs(bench: Bench) -> None:
    say("flipped bits", flipped_bits(bench))
