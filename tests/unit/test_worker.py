"""A job in a process of its own: its answer, its errors, its crashes."""

from __future__ import annotations

import os

import pytest

from toolchain.core import worker
from toolchain.core.errors import ModelError

JOBS = "tests.unit.worker_jobs"


def test_a_job_answers_from_another_process_with_a_fixed_hash_seed() -> None:
    steps: list[str] = []
    answer = worker.call(f"{JOBS}:double", {"once": 21}, what="doubling", progress=steps.append)
    assert answer["twice"] == 42
    assert answer["process"] != os.getpid()
    assert answer["seed"] == 0
    assert steps == ["doubling"]


def test_an_error_of_ours_comes_through_whole() -> None:
    with pytest.raises(ModelError) as caught:
        worker.call(f"{JOBS}:refuse", {}, what="refusing")
    error = caught.value
    assert (error.brief, error.detail, error.resolution) == ("brief", "detail", "resolution")


def test_a_crash_names_the_job_and_shows_the_last_lines() -> None:
    with pytest.raises(ModelError, match="crashing failed") as caught:
        worker.call(f"{JOBS}:crash", {}, what="crashing")
    assert "something native" in caught.value.detail


def test_a_killed_job_is_explained() -> None:
    with pytest.raises(ModelError, match="was killed") as caught:
        worker.call(f"{JOBS}:die", {}, what="dying")
    assert "memory" in caught.value.resolution
