"""Jobs in any executor of `concurrent.futures`: how many have ended, and what failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import TypeVar

from toolchain.cluster.work import Job, Work
from toolchain.core.errors import EdgewrightError

What = TypeVar("What")
Given = TypeVar("Given")
Say = Callable[[str], None]


@dataclass(kw_only=True)
class Count:
    """How many jobs have ended, of how many."""

    whole: int
    ended: int = 0


def jobs_of(what: Sequence[What], works: Sequence[Work], say: Say) -> tuple[list[Job[What]], Count]:
    """What a pool is given for some jobs; each says what it is at, and how many have ended."""
    count = Count(whole=len(what))

    def told(one: What) -> Say:
        return lambda line: say(f"{count.ended} of {count.whole}; {one}: {line}")

    jobs = [
        Job(what=one, work=work, progress=told(one)) for one, work in zip(what, works, strict=True)
    ]
    return jobs, count


def results(
    pool: Executor,
    one: Callable[[Job[What]], Given],
    asked: tuple[list[Job[What]], Count],
    failed: Callable[[What, EdgewrightError], Given],
) -> list[Given]:
    """What a function gives for each job, in a pool; `failed`'s where it raises."""
    jobs, count = asked

    def ended(_: object) -> None:
        count.ended += 1

    def result(job: Job[What], future: Future[Given]) -> Given:
        try:
            return future.result()
        except EdgewrightError as error:
            return failed(job.what, error)

    futures = [pool.submit(one, job) for job in jobs]
    try:
        for future in futures:
            future.add_done_callback(ended)
        return [result(job, future) for job, future in zip(jobs, futures, strict=True)]
    finally:
        for future in futures:  # an interrupt leaves some
            future.cancel()
