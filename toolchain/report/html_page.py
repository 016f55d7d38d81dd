"""The HTML page of a report: one file with its plots inside, which opens without a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from toolchain.accuracy.counts import Run
from toolchain.report import (
    accuracy_section,
    batch_chart,
    comparison,
    failures,
    formatting,
    latency_chart,
    measurement_rows,
    summary,
    variant_chart,
)
from toolchain.report.failures import Failed
from toolchain.results import measurement, statistics

TEMPLATES = Path(__file__).with_name("templates")
PAGE = "report.html.j2"


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Two results and what changed from the first to the second."""

    first: measurement.Result
    second: measurement.Result
    changes: Sequence[comparison.Change]


def render(
    found: Sequence[measurement.Result],
    *,
    runs: Sequence[Run] = (),
    failed: Sequence[Failed] = (),
    compared: Compared | None = None,
) -> str:
    """The page as HTML.

    Args:
        found: the results, in the order to show them.
        runs: accuracy on images of the user's.
        failed: from `failures.found`.
        compared: two results side by side.
    """
    emulated, real = formatting.kinds(found)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(PAGE).render(
        w=formatting,
        summary=summary,
        accuracies=accuracy_section,
        mark=measurement.EMULATED,
        emulated=emulated,
        real=real,
        here=failures.HERE,
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        runs=runs,
        failed=failed,
        compared=compared,
        hosts=[
            {"result": result, "plots": _plots(result, f"h{number}")}
            for number, result in enumerate(found)
        ],
    )


def _plots(result: measurement.Result, key: str) -> dict[str, list[str]]:
    """The SVGs of one host by kind; see the template for what each shows."""
    by_model: dict[str, list[measurement.Measurement]] = {}
    for m in result.measurements:
        by_model.setdefault(formatting.title(m), []).append(m)
    plots: dict[str, list[str]] = {
        "batch": batch_chart.by_batch(result),
        "latency": [],
        "forms": variant_chart.by_model(result),
        "memory": [],
        "accuracy": [],
        "trace": [],
    }
    for number, (title, measured) in enumerate(by_model.items()):
        _plot_model(plots, title, measured, emulated=result.emulated, key=f"{key}m{number}")
    return plots


def _plot_model(
    plots: dict[str, list[str]],
    title: str,
    measured: Sequence[measurement.Measurement],
    *,
    emulated: bool,
    key: str,
) -> None:
    timed = [(m, t) for m in measured if (t := m.timing()) is not None]
    if timed:
        bars = [
            latency_chart.Bar(
                label=formatting.configuration(m),
                value=t.latency_ns / 1e6,
                text=formatting.milliseconds(t.latency_ns),
                runtime=m.runtime,
                observations=[ns / 1e6 for ns in m.samples_ns],
            )
            for m, t in timed
        ]
        plots["latency"].append(
            latency_chart.bars(f"{title}: latency", bars, emulated=emulated, key=f"{key}l")
        )
    memory = [
        latency_chart.Bar(
            label=formatting.configuration(m),
            value=m.peak_rss_bytes / measurement_rows.MIB,
            text=formatting.mebibytes(m.peak_rss_bytes),
            runtime=m.runtime,
        )
        for m in measured
        if m.peak_rss_bytes
    ]
    if memory:
        plots["memory"].append(
            latency_chart.bars(f"{title}: peak memory", memory, emulated=False, key=f"{key}p")
        )
    shares = [
        latency_chart.Shares(
            label=formatting.configuration(m),
            runtime=m.runtime,
            top1=measurement_rows.accuracy_of(m.accuracy),
            top5=statistics.wilson(m.accuracy.correct_top5, m.accuracy.total),
            here=m.accuracy.reference_correct / m.accuracy.total,
        )
        for m in measured
        if m.accuracy
    ]
    if shares:
        plots["accuracy"].append(latency_chart.shares(f"{title}: top-1 and top-5", shares))
    plots["trace"] += [
        latency_chart.trace(
            f"{title}, {formatting.configuration(m)}",
            [ns / 1e6 for ns in m.samples_ns],
            m.runtime,
            emulated=emulated,
        )
        for m, _ in timed
    ]
