"""The state of a device around a run and over it, and what an inference takes of energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from toolchain.results.field_types import Count


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Reading(_Part):
    """The device at one moment of a run; null is what it could not read.

    Attributes:
        seconds: since the run began.
        khz: of the fastest clock.
        temperature_c: of the hottest zone.
        watts: that the board's meters read.
    """

    seconds: Annotated[float, Field(ge=0)]
    khz: Annotated[int, Field(ge=0)] | None = None
    temperature_c: float | None = None
    watts: float | None = None


class Snapshot(_Part):
    """The device's state at one moment: see deploy/runner's `watch`."""

    monotonic_ns: Count
    cpu_khz: list[Count] = Field(default_factory=list)
    cpu_max_khz: list[Count] = Field(default_factory=list)
    temperature_c: float | None = None
    throttle_events: Count = 0
    firmware_throttled: Count | None = None
    swapped_pages: Count = 0
    major_faults: Count = 0
    cpu_seconds: Annotated[float, Field(ge=0)] = 0.0
    load_1min: float | None = None
    energy_uj: Count | None = Field(
        default=None, description="of the CPU packages since some moment; null if unknown"
    )
    busy_seconds: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="CPU time since boot of everything on the device; null if unknown"
    )
    waited_seconds: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description="how long all threads of this process were ready and had no CPU; null if unknown",
    )
    governor: str = ""


class Conditions(_Part):
    """The state just before and just after the timed inferences, and over them."""

    before: Snapshot
    after: Snapshot
    series: list[Reading] = Field(default_factory=list, max_length=10_000)


@dataclass(frozen=True, kw_only=True)
class Energy:
    """What one inference takes, all that ran beside it included.

    Attributes:
        millijoules: the mean over the run.
        of: whose energy that is.
    """

    millijoules: float
    of: str


@dataclass(frozen=True, kw_only=True)
class Fall:
    """How far the clock fell below what it had reached.

    Attributes:
        from_khz, to_khz: the clock before and at its lowest after that.
        seconds: when it was lowest.
    """

    from_khz: int
    to_khz: int
    seconds: float


def energy(
    counters_uj: tuple[int | None, int | None],
    series: Sequence[Reading],
    *,
    seconds: float,
    inferences: int,
) -> Energy | None:
    """By the board's meters where there are any, else by the CPU's counters; None without either.

    Args:
        counters_uj: of the CPU before and after the run.
        series: over the run.
        seconds: of the run.
        inferences: in it.
    """
    if not inferences:
        return None
    read = [one.watts for one in series if one.watts is not None]
    if read:
        return Energy(millijoules=1e3 * fmean(read) * seconds / inferences, of="the board's meters")
    before, after = counters_uj
    # a counter that has begun anew says nothing
    if before is None or after is None or after <= before:
        return None
    return Energy(millijoules=(after - before) / 1e3 / inferences, of="the CPU's counter")


def fall(series: Sequence[Reading]) -> Fall | None:
    """The deepest fall of the clock in a run, by its share; None where it never fell."""
    deepest, reached = None, 0
    for one in series:
        if not one.khz:
            continue
        reached = max(reached, one.khz)
        if one.khz < reached and (
            deepest is None or one.khz * deepest.from_khz < deepest.to_khz * reached
        ):
            deepest = Fall(from_khz=reached, to_khz=one.khz, seconds=one.seconds)
    return deepest
