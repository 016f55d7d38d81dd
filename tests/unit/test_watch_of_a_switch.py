"""The child that waits for a confirmation: there before anything is switched, or said not to be."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from deploy.agent import commit_confirmed
from deploy.agent.commit_confirmed import Watch
from deploy.agent.files import Failure
from deploy.agent.state import State


class Locked(State):
    """A device whose lock is a file of this test."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.lock_file = os.open(root / "lock", os.O_RDWR | os.O_CREAT)


def test_it_is_out_of_the_agents_group_however_slow_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = commit_confirmed._alone

    def slowly(kept: set[int]) -> None:
        time.sleep(0.3)
        alone(kept)

    monkeypatch.setattr(commit_confirmed, "_alone", slowly)
    watch = Watch(Locked(tmp_path), 60)
    try:
        assert os.getpgid(watch.child) == watch.child
    finally:
        watch.end()


def test_one_that_cannot_begin_is_said_before_anything_is_switched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(kept: set[int]) -> None:
        raise OSError(len(kept))

    monkeypatch.setattr(commit_confirmed, "_alone", cannot)
    with pytest.raises(Failure, match="could not start what undoes"):
        Watch(Locked(tmp_path), 60)
