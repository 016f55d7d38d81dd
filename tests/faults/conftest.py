"""The device of the tests of faults: in memory where that can be."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.faults.bench import Bench
from tests.support.faults.device import Agent


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where that can be: a kill loses no page, so the disk's speed adds nothing."""
    shm = Path("/dev/shm")  # noqa: S108 (not a file of a known name)
    with tempfile.TemporaryDirectory(dir=shm if os.access(shm, os.W_OK) else None) as made:
        yield Path(made)


@pytest.fixture
def bench(folder: Path) -> Bench:
    return Bench(folder, Agent())
