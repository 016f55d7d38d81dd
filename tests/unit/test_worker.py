"""A job in a process of its own: its answer, its errors, its crashes."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.support.worker_jobs import CRASH, DIE, DOUBLE, REFUSE, Doubling
from toolchain.accuracy.sharding import shards_request
from toolchain.compile import compilation_request
from toolchain.convert import requests as conversion_requests
from toolchain.core import worker
from toolchain.core.errors import ModelError
from toolchain.lock import unpack
from toolchain.tuning import search_request


def test_a_job_answers_from_another_process_with_a_fixed_hash_seed() -> None:
    steps: list[str] = []
    request = Doubling(once=21, where=Path("here"))
    answer = worker.call(DOUBLE, request, what="doubling", progress=steps.append)
    assert answer.twice == 42
    assert answer.where == Path("here")
    assert answer.process != os.getpid()
    assert answer.randomised == 0
    assert steps == ["doubling"]


def test_an_error_of_ours_comes_through_whole() -> None:
    with pytest.raises(ModelError) as caught:
        worker.call(REFUSE, None, what="refusing")
    error = caught.value
    assert (error.brief, error.detail, error.resolution) == ("brief", "detail", "resolution")


def test_a_crash_names_the_job_and_shows_the_last_lines() -> None:
    with pytest.raises(ModelError, match="crashing failed") as caught:
        worker.call(CRASH, None, what="crashing")
    assert "something native" in caught.value.detail


def test_a_killed_job_is_explained() -> None:
    with pytest.raises(ModelError, match="was killed") as caught:
        worker.call(DIE, None, what="dying")
    assert "memory" in caught.value.resolution


def test_a_request_that_is_not_of_the_jobs_type_is_refused_on_the_other_side() -> None:
    other = worker.Job(DOUBLE.function, dict[str, str], type(None))
    with pytest.raises(ModelError, match="doubling failed") as caught:
        worker.call(other, {"once": "many"}, what="doubling")
    assert "valid integer" in caught.value.detail


def test_an_answer_that_is_not_of_the_jobs_type_is_refused_here() -> None:
    other = worker.Job(DOUBLE.function, Doubling, int)
    with pytest.raises(ValidationError, match="valid integer"):
        worker.call(other, Doubling(once=1), what="doubling")


@pytest.mark.parametrize(
    "job",
    [
        compilation_request.COMPILE,
        conversion_requests.CONVERT,
        conversion_requests.MAKE_VARIANT,
        unpack.UNPACK,
        search_request.SEARCH,
        shards_request.PREPARE,
        shards_request.REFERENCES,
    ],
    ids=lambda job: str(job.function),
)
def test_a_jobs_function_takes_and_returns_what_its_caller_is_told(
    job: worker.Job[object, object],
) -> None:
    function = getattr(importlib.import_module(job.module), job.function.partition(":")[2])
    assert worker.signature(function) == (job.request, job.answer)
