"""A power cut, wherever it comes, leaves what was reported done."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support import tools
from tests.support.faults.bench import LONG, say, with_strace
from tests.support.faults.device import Agent
from tests.support.faults.power_cuts import cut_on_every_core
from tests.support.faults.powercut import KINDS, Disk

pytestmark = with_strace
CUTS = int(os.environ.get("EDGEWRIGHT_CUTS", "5000" if LONG else "30"))


def program(kind: str, folder: Path) -> str | None:
    """Where the program is that makes such a filesystem: None for the usual places."""
    return str(tools.install("xfsprogs", "sbin/mkfs.xfs", folder)) if kind == "xfs" else None


def must_mount(folder: Path, kind: str, path: str | None) -> None:
    """Skip where no filesystem can be mounted."""
    folder.mkdir()
    try:
        with Disk(folder, kind, path) as disk:
            disk.on()
            disk.off()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no loop mount of {kind} here: {error}")


@pytest.mark.parametrize("kind", KINDS)
def test_a_power_cut_leaves_what_was_reported(folder: Path, tmp_path: Path, kind: str) -> None:
    path = program(kind, tmp_path / "x")
    must_mount(folder / "trial", kind, path)
    counts = cut_on_every_core(folder, Agent(), CUTS, kind, path)
    after = counts.pop("after the report")
    words = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    say(f"power cuts of {kind} ({words}; {after} after the report)", counts.total())
    assert counts.total() == CUTS
    assert 0 < after < CUTS
