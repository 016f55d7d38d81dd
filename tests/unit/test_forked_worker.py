"""Work in a copy of a worker's process: its answer, its errors, its crashes, its end."""

from __future__ import annotations

import os

import pytest

from tests.support.worker_jobs import (
    ASIDE,
    CRASH_ASIDE,
    DIE_ASIDE,
    LEAVE_ASIDE,
    REFUSE_ASIDE,
)
from toolchain.core import worker
from toolchain.core.errors import ModelError


def test_the_copy_has_what_this_process_has_and_answers() -> None:
    answer = worker.call(ASIDE, None, what="asking")
    assert answer.shared == ("from before the fork",)
    assert answer.process != answer.copy


def test_an_error_of_ours_comes_out_of_the_copy_whole() -> None:
    with pytest.raises(ModelError) as caught:
        worker.call(REFUSE_ASIDE, None, what="refusing")
    error = caught.value
    assert (error.brief, error.detail, error.resolution) == ("brief", "detail", "resolution")


def test_another_error_of_the_copy_is_shown() -> None:
    with pytest.raises(ModelError, match="crashing failed") as caught:
        worker.call(CRASH_ASIDE, None, what="crashing")
    assert "something native" in caught.value.detail


def test_a_copy_that_ran_out_of_memory_is_explained() -> None:
    with pytest.raises(ModelError, match="was killed") as caught:
        worker.call(DIE_ASIDE, None, what="dying")
    assert "memory" in caught.value.resolution


def test_no_copy_is_left_when_this_half_fails() -> None:
    with pytest.raises(ModelError, match="after the fork") as caught:
        worker.call(LEAVE_ASIDE, None, what="leaving")
    with pytest.raises(ProcessLookupError):
        os.kill(int(caught.value.detail), 0)
