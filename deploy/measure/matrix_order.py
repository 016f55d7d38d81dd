"""The order of a matrix of measurements, and how one that was broken off goes on.

A device warms up and slows down while it measures. Jobs that differ in one parameter are therefore
not neighbours in time: their order is shuffled, the same way every time. What is shown and kept is
in the order of the parameters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol, TypeVar

from toolchain.results import measurement
from toolchain.results.configuration import Configuration


class Configured(Protocol):
    """What a job and its measurement have in common."""

    @property
    def model(self) -> str: ...  # noqa: D102
    @property
    def configuration(self) -> Configuration: ...  # noqa: D102


C = TypeVar("C", bound=Configured)
Key = tuple[str, Configuration]


def key(job: Configured) -> Key:
    """Which job it is."""
    return (job.model, job.configuration)


def spread(jobs: Sequence[C]) -> list[C]:
    """The jobs shuffled by a hash of what they are."""
    return sorted(jobs, key=lambda job: hashlib.sha256(repr(key(job)).encode()).digest())


def left(jobs: Sequence[C], before: measurement.Result | None) -> list[C]:
    """The jobs that an earlier run has no good measurement of."""
    done = {key(m) for m in before.measurements if m.status == "ok"} if before else set()
    return [job for job in jobs if key(job) not in done]


def unfinished(
    results: Sequence[measurement.Result],
    *,
    host: str,
    release: str,
    settings: measurement.Settings,
    counted: bool,
) -> measurement.Result | None:
    """The device's last run, when it was cut short and measured the same release the same way."""
    of_host = [r for r in results if r.host == host and r.counted == counted]
    last = max(of_host, key=lambda r: r.started, default=None)
    if last is None or last.complete:
        return None
    return last if (last.release, last.settings) == (release, settings) else None


def joined(
    result: measurement.Result, before: measurement.Result | None, jobs: Sequence[Configured]
) -> measurement.Result:
    """A run with what an earlier one had measured, in the order of the jobs."""
    earlier = before.measurements if before else []
    new = {key(m) for m in result.measurements}
    kept = [m for m in earlier if key(m) not in new and m.status == "ok"]
    place = {key(job): number for number, job in enumerate(jobs)}
    every = sorted([*kept, *result.measurements], key=lambda m: place.get(key(m), len(place)))
    return result.model_copy(update={"measurements": every})
