"""What a model was worth by a metric (`toolchain.accuracy.metric_values`), as a table."""

from __future__ import annotations

from toolchain.accuracy.metric_values import MetricRun
from toolchain.core.errors import BenchError
from toolchain.report import formatting


def columns(run: MetricRun) -> list[str]:
    """The heads of the table: each number on the device, then here."""
    return ["runtime", *(head for name in _names(run) for head in (name, f"{name} here"))]


def rows(run: MetricRun) -> list[list[str]]:
    """What was judged, in the order of `columns`."""
    return [
        [
            formatting.configuration(subject.configuration),
            *(
                _number(of.get(name))
                for name in _names(run)
                for of in (subject.values, subject.here)
            ),
        ]
        for subject in run.subjects
        if not subject.error
    ]


def refuse_failures(run: MetricRun) -> None:
    """Raise when a runtime could not run the images.

    Raises:
        BenchError: it names each.
    """
    failed = [
        f"{formatting.configuration(s.configuration)}: {s.error}" for s in run.subjects if s.error
    ]
    if failed:
        raise BenchError(
            f"{len(failed)} of {len(run.subjects)} could not run all images",
            detail="\n".join(failed),
            resolution="the same command again tries these again; --debug says more",
        )


def _names(run: MetricRun) -> list[str]:
    """Of all numbers, in the metric's order."""
    return list(dict.fromkeys(name for s in run.subjects for name in (*s.values, *s.here)))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
