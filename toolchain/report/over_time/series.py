"""Each configuration of each device over time: what a commit or a day made of it.

A measurement is held against the last one before it that nothing disturbed; what counts as a change
is `comparison`'s to say. Emulated times are left out; counted instructions are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from toolchain.report import comparison, formatting
from toolchain.report.comparison import Change
from toolchain.results.configuration import Configuration
from toolchain.results.disturbances import disturbances
from toolchain.results.measurement import Measurement, Result


@dataclass(frozen=True, kw_only=True)
class Run:
    """One measurement of a configuration.

    Attributes:
        result: the name of the result's file.
        at: when it began.
        value: the median latency in ms, or instructions in millions.
        size: of the file that was run, in bytes; None where it isn't known.
        top1: share of the model's own labelled samples; None where there are none.
        change: against the run before that it is held against; None of the first.
    """

    result: str
    at: datetime
    value: float
    size: int | None
    top1: float | None
    change: Change | None


@dataclass(frozen=True, kw_only=True)
class History:
    """All runs of one configuration on one device, oldest first.

    Attributes:
        host: the device.
        what: the model and its configuration.
        runtime: its name.
        unit: of the values.
        runs: at least one.
    """

    host: str
    what: str
    runtime: str
    unit: str
    runs: Sequence[Run]

    @property
    def last(self) -> Run:
        """The newest run."""
        return self.runs[-1]

    def plain(self) -> dict[str, Any]:
        """All of it as JSON takes it."""
        runs = [asdict(run) | {"at": run.at.isoformat(timespec="seconds")} for run in self.runs]
        return asdict(self) | {"runs": runs}


@dataclass(frozen=True, kw_only=True)
class Regression:
    """A configuration whose newest run is worse than the one before it.

    Attributes:
        history: its.
        why: in words.
    """

    history: History
    why: str

    def plain(self) -> dict[str, str]:
        """Device, configuration and reason."""
        return {"host": self.history.host, "what": self.history.what, "why": self.why}


def histories(results: Sequence[Result]) -> list[History]:
    """The history of every configuration, by host, then in the order of its first run.

    Args:
        results: of any hosts and times.
    """
    by: dict[tuple[str, bool, str, Configuration], list[tuple[Result, Measurement]]] = {}
    for result in sorted(results, key=lambda r: (r.host, r.started)):
        for m in result.measurements:
            if m.status == "ok" and _value(result, m) is not None:
                key = (result.host, result.counted, m.model, m.configuration)
                by.setdefault(key, []).append((result, m))
    return [
        History(
            host=host,
            what=formatting.subject(model, configuration),
            runtime=configuration.runtime,
            unit="M instructions" if counted else "ms",
            runs=_runs((model, configuration), measured),
        )
        for (host, counted, model, configuration), measured in by.items()
    ]


def _runs(
    job: tuple[str, Configuration], measured: Sequence[tuple[Result, Measurement]]
) -> list[Run]:
    runs: list[Run] = []
    calm: Measurement | None = None
    for result, m in measured:
        found = None if calm is None else comparison.change(job, calm, m, emulated=False)
        runs.append(
            Run(
                result=result.name,
                at=result.started,
                value=_value(result, m) or 0.0,
                size=m.artifact.size if m.artifact else None,
                top1=m.accuracy.correct / m.accuracy.total if m.accuracy else None,
                change=found,
            )
        )
        if calm is None or not disturbances(m):
            calm = m
    return runs


def _value(result: Result, m: Measurement) -> float | None:
    if result.counted:
        return m.instructions.each / 1e6 if m.instructions else None
    timing = None if result.emulated else m.timing()
    return timing.latency_ns / 1e6 if timing else None


def regressions(found: Sequence[History], percent: float) -> list[Regression]:
    """The configurations that got worse in their newest run.

    Args:
        found: from `histories`.
        percent: how much slower, beyond noise, counts; how many percentage points of top-1; and
            how much larger the file that is run.
    """
    worse = []
    for one in found:
        newest = one.last.change
        if newest is None:
            continue
        if newest.verdict == "slower" and newest.ratio and newest.ratio > 1 + percent / 100:
            more = formatting.number(100 * (newest.ratio - 1))
            span = f"{formatting.perhaps(newest.before)} to {formatting.perhaps(newest.after)}"
            worse.append(Regression(history=one, why=f"{more} % more: {span} {one.unit}"))
        elif (lost := _lost(one)) > percent:
            why = f"{formatting.number(lost)} points of top-1 less"
            worse.append(Regression(history=one, why=why))
        elif (grown := _grown(one)) > percent:
            why = (
                f"its file has grown by {formatting.number(grown)} %: {_first_and_newest_size(one)}"
            )
            worse.append(Regression(history=one, why=why))
    return worse


def _lost(one: History) -> float:
    """Percentage points of top-1 that the newest run has less than the last before it with any."""
    before = [run.top1 for run in one.runs[:-1] if run.top1 is not None]
    return 100 * (before[-1] - one.last.top1) if before and one.last.top1 is not None else 0.0


def _grown(one: History) -> float:
    """Percent by which the newest run's file is larger than the last before it of a known size."""
    before = [run.size for run in one.runs[:-1] if run.size]
    return 100 * (one.last.size / before[-1] - 1) if before and one.last.size else 0.0


def rows(found: Sequence[History]) -> list[list[str]]:
    """A row a configuration: what `COLUMNS` say, of size and top-1 the first and the newest."""
    return [
        [
            one.host,
            one.what,
            str(len(one.runs)),
            formatting.number(one.runs[0].value),
            f"{formatting.number(one.last.value)} {one.unit}",
            formatting.perhaps(one.last.change.ratio if one.last.change else None),
            one.last.change.verdict if one.last.change else "first",
            _first_and_newest_size(one),
            _first_and_newest([formatting.percent(r.top1) for r in one.runs if r.top1 is not None]),
        ]
        for one in found
    ]


COLUMNS = ["device", "model", "runs", "first", "newest", "ratio", "verdict", "size", "top-1"]


def _first_and_newest_size(one: History) -> str:
    return _first_and_newest([formatting.size(run.size) for run in one.runs if run.size])


def _first_and_newest(said: Sequence[str]) -> str:
    """Both where they differ, one where they don't, a dash where there is none."""
    if not said:
        return "-"
    return said[0] if said[0] == said[-1] else f"{said[0]} to {said[-1]}"
