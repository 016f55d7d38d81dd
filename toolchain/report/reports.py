"""Results for people and programs: a table on the terminal; an HTML page, CSV and JSON as files.

Everything shown is computed here and now from the raw samples. Emulated results are marked
wherever a time of theirs is shown, and stand apart from real ones: a section, a plot, a ratio is
of one host.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from toolchain.accuracy.counts import Run
from toolchain.accuracy.metric_values import MetricRun
from toolchain.core import paths
from toolchain.core.errors import BenchError
from toolchain.core.store import write_atomically
from toolchain.models.manifest import ModelManifest
from toolchain.report import (
    accuracy_section,
    answers,
    csv_file,
    failures,
    formatting,
    html_page,
    measurement_rows,
    summary,
)
from toolchain.report.answers import NO_LIMITS, Limits
from toolchain.report.html_page import Compared
from toolchain.report.measurement_rows import MIB, Counted, own_memory, subject
from toolchain.report.tables import releases
from toolchain.results import measurement

NARROW = 100
INSTRUCTIONS = "Instructions\nan inference"
LATENCY, LOAD = "Latency\nms", "Load\nms"
TIMES = [LATENCY, "p90\nms", "p99\nms", "FPS", LOAD]
NARROW_TIMES = [LATENCY, "p90\nms", "FPS"]


@dataclass(frozen=True, kw_only=True)
class Built:
    """The files of a report."""

    html: Path
    csv: Path
    accuracy_csv: Path
    json: Path


def show(
    results: Sequence[measurement.Result],
    console: Console,
    *,
    runs: Sequence[Run] = (),
    limits: Limits = NO_LIMITS,
) -> None:
    """Print the table of each result, and the mark when any is emulated."""
    console.print(rendered(results, narrow=console.width < NARROW, runs=runs, limits=limits))


def rendered(
    results: Sequence[measurement.Result],
    *,
    narrow: bool = False,
    runs: Sequence[Run] = (),
    limits: Limits = NO_LIMITS,
) -> RenderableType:
    """A report as the terminal shows it; a narrow one leaves some columns out.

    Raises:
        BenchError: there are no results.
    """
    _need(results)
    parts: list[RenderableType] = []
    if any(result.emulated and not result.counted for result in results):
        parts.append(Panel(Text(formatting.WARNING, style="bold"), style="bold red"))
    counted = measurement_rows.counted(results)
    timed = {subject(r, m) for r in results if not r.counted for m in r.measurements}
    for result in results:
        parts += _answers(result, runs, limits)
        shown = html_page.fewer(result)
        if not result.counted:
            parts += [_speed(shown, counted, narrow=narrow), _parity(shown, narrow=narrow)]
        elif not {subject(shown, m) for m in shown.measurements} <= timed:
            parts.append(_counts(shown))
        if shown is not result:
            many, few = len(result.measurements), len(shown.measurements)
            parts.append(Text(f"Of {many:,} measurements {few:,} are shown; the CSV has them all."))
        parts += [*_below(result, shown), Text("")]
    return Group(*parts)


def build(
    results: Sequence[measurement.Result],
    *,
    runs: Sequence[Run] = (),
    judged: Sequence[MetricRun] = (),
    manifests: Sequence[ModelManifest] = (),
    compared: Compared | None = None,
    limits: Limits = NO_LIMITS,
    held: Sequence[releases.Held] = (),
    folder: Path | None = None,
    name: str = "report",
) -> Built:
    """Write the HTML page, the CSVs and the JSON of some results.

    Args:
        results: in the order to show them.
        runs: accuracy on images of the user's.
        judged: what other metrics said of such images.
        manifests: of models that were converted here; what they say was not made is told.
        compared: two of the results, side by side.
        limits: what a configuration keeps to that is recommended.
        held: what each release ran, from `releases.held`.
        folder: where to; reports/ when not given.
        name: the files' name without the ending.

    Raises:
        BenchError: there are no results.
    """
    _need([*results, *runs, *judged])
    where = folder if folder is not None else paths.reports()
    flat, accuracy = measurement_rows.flatten(results), accuracy_section.flatten(runs)
    failed = failures.collect(results, runs, manifests)
    built = Built(
        html=where / f"{name}.html",
        csv=where / f"{name}.csv",
        accuracy_csv=where / f"{name}-accuracy.csv",
        json=where / f"{name}.json",
    )
    emulated = formatting.any_emulated(results)
    content: dict[str, Any] = {
        "schema": 2,
        "emulated": emulated,
        "warning": formatting.WARNING if emulated else None,
        "answers": _answers_plain(results, runs, limits),
        "rows": [vars(row) for row in flat],
        "releases": [one.plain() for one in held],
        "accuracy": [vars(row) for row in accuracy],
        "metrics": [run.model_dump(mode="json", by_alias=True) for run in judged],
        "failed": [asdict(failure) for failure in failed],
        "changes": [asdict(change) for change in compared.changes] if compared else [],
    }
    text = html_page.render(
        results, runs=runs, judged=judged, manifests=manifests, failed=failed,
        compared=compared, limits=limits, held=held,
    )  # fmt: skip
    write_atomically(built.html, text.encode())
    write_atomically(built.csv, csv_file.dump(measurement_rows.Row, flat).encode())
    write_atomically(built.accuracy_csv, csv_file.dump(accuracy_section.Row, accuracy).encode())
    write_atomically(built.json, (json.dumps(content) + "\n").encode())
    return built


def _answers_plain(
    results: Sequence[measurement.Result], runs: Sequence[Run], limits: Limits
) -> list[dict[str, Any]]:
    return [
        {"host": result.host, "counted": result.counted, **asdict(answer)}
        for result in results
        for answer in answers.answers(result, runs, limits)
    ]


def _need(shown: Sequence[object]) -> None:
    if not shown:
        raise BenchError(
            "there are no results to report", resolution="run `invoke bench --host NAME` first"
        )


def _answers(
    result: measurement.Result, runs: Sequence[Run], limits: Limits
) -> Iterator[RenderableType]:
    """Which configuration of each network to take, before all figures."""
    for answer in answers.answers(result, runs, limits):
        yield Text.assemble((f"{answer.title} on {result.host}: ", "bold"), answer.sentence)
        for best in answer.best:
            yield Text(f"  {best.what}: {best.configuration}, {best.value}")


def _speed(result: measurement.Result, counted: Counted, *, narrow: bool) -> Table:
    """The times of a device; of an emulated one with the instructions that were counted there."""
    heading = Text(f"{result.host}: {formatting.device_name(result)}, {formatting.when(result)}")
    if result.emulated:
        heading.append(f" [{measurement.EMULATED}]", style="bold red")
    table = _grid(heading)
    style = "red" if result.emulated else ""
    if result.emulated:
        table.add_column("Times\nare", style="bold red", no_wrap=True)
    with_counts = any(subject(result, m) in counted for m in result.measurements)
    if with_counts:
        table.add_column(INSTRUCTIONS, justify="right", no_wrap=True)
    times = NARROW_TIMES if narrow else TIMES
    for name in times:
        table.add_column(name, justify="right", style=style, no_wrap=True)
    table.add_column("Memory\nMiB", justify="right", no_wrap=True)
    for m, name in _named(result):
        timing = m.timing()
        shown = dict.fromkeys(TIMES, "-")
        if timing is not None:
            shown |= {
                LATENCY: formatting.latency(result, m, timing.latency_ns / 1e6),
                "p90\nms": formatting.number(timing.p90_ns / 1e6),
                "p99\nms": formatting.number(timing.p99_ns / 1e6),
                "FPS": formatting.number(timing.fps),
            }
        if m.load_ns is not None:
            shown[LOAD] = formatting.number(m.load_ns / 1e6)
        if m.status != "ok" and timing is None:
            shown[LATENCY] = "failed"
        table.add_row(
            *(name, _runtime(m), str(m.threads)),
            *([measurement.EMULATED] if result.emulated else []),
            *([_instructions(counted.get(subject(result, m)))] if with_counts else []),
            *(shown[column] for column in times),
            "-" if (own := own_memory(m)) is None else formatting.number(own / MIB),
        )
    return table


def _instructions(m: measurement.Measurement | None) -> str:
    return "-" if m is None else formatting.instructions(m)


def _counts(result: measurement.Result) -> Table:
    table = _grid(Text(f"{result.host}: {formatting.device_name(result)}"))
    table.add_column(INSTRUCTIONS, justify="right", no_wrap=True)
    table.add_column("Nodes\ndelegated", justify="right", no_wrap=True)
    for m, name in _named(result):
        delegated = formatting.delegated(m.delegated)
        table.add_row(name, _runtime(m), str(m.threads), formatting.instructions(m), delegated)
    return table


def _parity(result: measurement.Result, *, narrow: bool) -> Table:
    table = _grid(Text("Parity with the reference"))
    columns = ["Largest\ndifference", "Same\ntop-1", "Accuracy\n(95 %)", "Reference\naccuracy"]
    for name in columns if narrow else [*columns, "Nodes\ndelegated"]:
        table.add_column(name, justify="right", no_wrap=True)
    for m, name in _named(result):
        style = "" if m.parity is None or m.parity.holds else "bold red"
        accuracy = formatting.accuracy(m.accuracy)
        table.add_row(
            *(name, _runtime(m), str(m.threads)),
            Text(formatting.difference(m.parity), style=style),
            Text(formatting.same_top1(m.parity), style=style),
            accuracy.replace(" (", "\n(") if narrow else accuracy,
            formatting.reference_accuracy(m.accuracy),
            *([] if narrow else [formatting.delegated(m.delegated)]),
        )
    return table


def _grid(title: Text) -> Table:
    """A table that begins with what was measured."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    table.add_column("Model", overflow="fold", min_width=9)
    table.add_column("Runtime", no_wrap=True)
    table.add_column("Thr.", justify="right", no_wrap=True)
    return table


def _named(result: measurement.Result) -> Iterator[tuple[measurement.Measurement, str]]:
    """The measurements with their model's name where it is not that of the row above."""
    last = ""
    for m in result.measurements:
        name = formatting.title(m)
        yield m, name if name != last else ""
        last = name


def _runtime(m: measurement.Measurement) -> Text:
    text = Text(formatting.runtime(m.configuration))
    return text if m.status == "ok" else text.append("\nfailed", style="bold red")


def _below(result: measurement.Result, shown: measurement.Result) -> list[RenderableType]:
    lines: list[RenderableType] = [
        Text(line)
        for line in (
            *formatting.comparisons(result),
            *formatting.energies(shown),
            *summary.best_lines(result),
            *summary.ratio_lines(result),
        )
    ]
    if result.counted:
        lines += [Text(line) for line in formatting.instruction_ratios(result)]
        lines.append(Text(formatting.COUNTED))
    elif result.emulated:
        lines.append(Text(formatting.NO_RATIO, style="red"))
    if not result.complete:
        lines.append(Text("This run was cut short; not all jobs are here.", style="bold red"))
    for m in shown.measurements:
        name = formatting.subject(m.model, m.configuration)
        if m.error is not None:
            failure = f"{name} failed ({m.error.stage}): {m.error.kind}: {m.error.message}"
            lines.append(Text(failure, style="bold red"))
        lines += [Text(f"{name}: {note}", style="yellow") for note in formatting.notes(result, m)]
    return lines
