"""A power cut, wherever it comes, leaves what was reported done."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tools
from tests.faults import device
from tests.faults.bench import LONG, Bench, say, with_strace
from tests.faults.device import Point
from tests.faults.powercut import KINDS, Disk
from toolchain.errors import EdgewrightError

pytestmark = with_strace
CUTS = int(os.environ.get("EDGEWRIGHT_CUTS", "10000" if LONG else "30"))


def cut_points(bench: Bench, wanted: int) -> Iterator[tuple[str, Point | None]]:
    """Where the power goes: right after all is done, then from the last call to the first.

    The last ones first: there a lost fsync shows. Again from the start when more are wanted.
    """
    every: list[tuple[str, Point | None]] = [("rollback", None), ("deploy", None)]
    for name in ("rollback", "deploy"):
        points = bench.points(name)
        every += [(name, point) for point in points[::-1][:: max(1, len(points) // wanted)]]
    yield from itertools.islice(itertools.cycle(every), wanted)


def power_cuts(bench: Bench, disk: Disk, wanted: int) -> int:
    root = disk.on()
    shutil.copytree(bench.template, root, symlinks=True)
    disk.off()
    disk.keep()
    done = 0
    for name, point in cut_points(bench, wanted):
        what = f"power cut in {name} at {point or 'its end'}"
        disk.restore()
        root = disk.on()
        try:
            work, allowed, new = bench.work(name, root)
            injected = device.kill_at(point) if point else ""
            ended = device.run(work, injected, scratch=bench.folder)
        finally:
            disk.cut()
        root = disk.on()
        try:
            bench.check(root, ended, allowed, new, what)
            bench.recover(root, done, what)
        finally:
            disk.off()
        done += 1
    return done


@pytest.fixture(params=KINDS)
def disk(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> Disk:
    kind = str(request.param)
    if kind == "xfs":
        return mounted(
            folder, kind, str(tools.install("xfsprogs", "sbin/mkfs.xfs", tmp_path / "x"))
        )
    return mounted(folder)


def mounted(folder: Path, kind: str = "ext4", path: str | None = None) -> Disk:
    try:
        made = Disk(folder, kind, path)
        made.on()
        made.off()
    except (OSError, EdgewrightError, Exception) as error:  # noqa: BLE001 (no root, no loop)
        pytest.skip(f"no loop mount of {kind} here: {error}")
    return made


def test_a_power_cut_leaves_what_was_reported(bench: Bench, disk: Disk) -> None:
    say(f"power cuts of {disk.kind.make[0]}", power_cuts(bench, disk, CUTS))
