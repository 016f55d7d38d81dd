"""What a model was worth by a metric (`toolchain.accuracy.metric_values`), as a table."""

from __future__ import annotations

from toolchain.accuracy.metric_values import MetricRun
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


def _names(run: MetricRun) -> list[str]:
    """Of all numbers, in the metric's order."""
    return list(dict.fromkeys(name for s in run.subjects for name in (*s.values, *s.here)))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
