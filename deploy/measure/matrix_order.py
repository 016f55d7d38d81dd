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


class Named(Protocol):
    """What a job and its measurement have in common."""

    @property
    def model(self) -> str: ...  # noqa: D102
    @property
    def batch(self) -> int: ...  # noqa: D102
    @property
    def runtime(self) -> str: ...  # noqa: D102
    @property
    def variant(self) -> str: ...  # noqa: D102
    @property
    def threads(self) -> int: ...  # noqa: D102


N = TypeVar("N", bound=Named)
Key = tuple[str, int, str, str, int]


def key(one: Named) -> Key:
    """Which job it is."""
    return (one.model, one.batch, one.runtime, one.variant, one.threads)


def spread(jobs: Sequence[N]) -> list[N]:
    """The jobs shuffled by a hash of what they are."""
    return sorted(jobs, key=lambda j: hashlib.sha256(repr(key(j)).encode()).digest())


def left(jobs: Sequence[N], before: measurement.Result | None) -> list[N]:
    """The jobs that an earlier run has no good measurement of."""
    done = {key(m) for m in before.measurements if m.status == "ok"} if before else set()
    return [job for job in jobs if key(job) not in done]


def unfinished(
    found: Sequence[measurement.Result],
    *,
    host: str,
    release: str,
    settings: measurement.Settings,
    counted: bool,
) -> measurement.Result | None:
    """The device's last run, when it was cut short and measured the same release the same way."""
    own = [r for r in found if r.host == host and r.counted == counted]
    last = max(own, key=lambda r: r.started, default=None)
    if last is None or last.complete:
        return None
    return last if (last.release, last.settings) == (release, settings) else None


def joined(
    result: measurement.Result, before: measurement.Result | None, jobs: Sequence[Named]
) -> measurement.Result:
    """A run with what an earlier one had measured, in the order of the jobs."""
    earlier = before.measurements if before else []
    new = {key(m) for m in result.measurements}
    every = [m for m in earlier if key(m) not in new and m.status == "ok"] + result.measurements
    place = {key(job): number for number, job in enumerate(jobs)}
    every.sort(key=lambda m: place.get(key(m), len(place)))
    return result.model_copy(update={"measurements": every})
