"""Results for people and programs: a table on the terminal; an HTML page, CSV and JSON as files.

Everything shown is computed here and now from the raw samples. Emulated results are marked
wherever a time of theirs is shown, and stand apart from real ones: a section, a plot, a ratio is
of one host.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from toolchain import paths, results
from toolchain.errors import BenchError
from toolchain.report import charts, curves, rows, summary, wording
from toolchain.store import write_atomically

TEMPLATES = Path(__file__).with_name("templates")
PAGE = "report.html.j2"
NARROW = 100
LATENCY, LOAD = "Latency\nms", "Load\nms"
TIMES = [LATENCY, "p90\nms", "p99\nms", "FPS", LOAD]
NARROW_TIMES = [LATENCY, "p90\nms", "FPS"]


@dataclass(frozen=True, kw_only=True)
class Built:
    """The files of a report."""

    html: Path
    csv: Path
    json: Path


def show(found: Sequence[results.Result], console: Console) -> None:
    """Print the table of each result, and the mark when any is emulated."""
    console.print(rendered(found, narrow=console.width < NARROW))


def rendered(found: Sequence[results.Result], *, narrow: bool = False) -> RenderableType:
    """The terminal's form of a report; a narrow one leaves some columns out.

    Raises:
        BenchError: there are no results.
    """
    _need(found)
    parts: list[RenderableType] = []
    if any(result.emulated and not result.counted for result in found):
        parts.append(Panel(Text(wording.WARNING, style="bold"), style="bold red"))
    for result in found:
        if result.counted:
            parts += [_counts(result)]
        else:
            parts += [_speed(result, narrow=narrow), _agreement(result, narrow=narrow)]
        parts += [*_below(result), Text("")]
    return Group(*parts)


def build(
    found: Sequence[results.Result], *, folder: Path | None = None, name: str = "report"
) -> Built:
    """Write the HTML page, the CSV and the JSON of some results.

    Args:
        found: the results, in the order to show them.
        folder: where to; reports/ when not given.
        name: the files' name without the ending.

    Raises:
        BenchError: there are no results.
    """
    _need(found)
    where = folder if folder is not None else paths.reports()
    flat = rows.flatten(found)
    built = Built(
        html=where / f"{name}.html", csv=where / f"{name}.csv", json=where / f"{name}.json"
    )
    emulated, real = wording.kinds(found)
    content: dict[str, Any] = {
        "schema": 1,
        "emulated": emulated,
        "warning": wording.WARNING if emulated else None,
        "rows": [asdict(row) for row in flat],
    }
    write_atomically(built.html, _page(found, emulated=emulated, real=real).encode())
    write_atomically(built.csv, rows.to_csv(flat).encode())
    write_atomically(built.json, (json.dumps(content, indent=1) + "\n").encode())
    return built


def _need(found: Sequence[results.Result]) -> None:
    if not found:
        raise BenchError(
            "there are no results to report", resolution="run `invoke bench --host NAME` first"
        )


def _speed(result: results.Result, *, narrow: bool) -> Table:
    heading = Text(f"{result.host}: {wording.device_name(result)}")
    if result.emulated:
        heading.append(f" [{results.EMULATED}]", style="bold red")
    table = _grid(heading)
    style = "red" if result.emulated else ""
    if result.emulated:
        table.add_column("Times\nare", style="bold red", no_wrap=True)
    times = NARROW_TIMES if narrow else TIMES
    for name in times:
        table.add_column(name, justify="right", style=style, no_wrap=True)
    table.add_column("Peak\nMiB", justify="right", no_wrap=True)
    for m, name in _named(result):
        timing = m.timing()
        shown = dict.fromkeys(TIMES, "-")
        if timing is not None:
            shown |= {
                LATENCY: wording.number(timing.latency_ns / 1e6),
                "p90\nms": wording.number(timing.p90_ns / 1e6),
                "p99\nms": wording.number(timing.p99_ns / 1e6),
                "FPS": wording.number(timing.fps),
            }
        if m.load_ns is not None:
            shown[LOAD] = wording.number(m.load_ns / 1e6)
        if m.status != "ok" and timing is None:
            shown[LATENCY] = "failed"
        table.add_row(
            *(name, _runtime(m), str(m.threads)),
            *([results.EMULATED] if result.emulated else []),
            *(shown[column] for column in times),
            wording.number(m.peak_rss_bytes / rows.MIB) if m.peak_rss_bytes else "-",
        )
    return table


def _counts(result: results.Result) -> Table:
    table = _grid(Text(f"{result.host}: {wording.device_name(result)}"))
    table.add_column("Instructions\nan inference", justify="right", no_wrap=True)
    table.add_column("Nodes\ndelegated", justify="right", no_wrap=True)
    for m, name in _named(result):
        delegated = wording.delegated(m.delegated)
        table.add_row(name, _runtime(m), str(m.threads), wording.instructions(m), delegated)
    return table


def _agreement(result: results.Result, *, narrow: bool) -> Table:
    table = _grid(Text("Agreement with the reference"))
    columns = ["Largest\ndifference", "Same\ntop-1", "Accuracy\n(95 %)", "Reference\naccuracy"]
    for name in columns if narrow else [*columns, "Nodes\ndelegated"]:
        table.add_column(name, justify="right", no_wrap=True)
    for m, name in _named(result):
        style = "" if m.parity is None or m.parity.agrees else "bold red"
        accuracy = wording.accuracy(m.accuracy)
        table.add_row(
            *(name, _runtime(m), str(m.threads)),
            Text(wording.difference(m.parity), style=style),
            Text(wording.agreement(m.parity), style=style),
            accuracy.replace(" (", "\n(") if narrow else accuracy,
            wording.reference_accuracy(m.accuracy),
            *([] if narrow else [wording.delegated(m.delegated)]),
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


def _named(result: results.Result) -> Iterator[tuple[results.Measurement, str]]:
    """The measurements with their model's name where it is not that of the row above."""
    last = ""
    for m in result.measurements:
        name = wording.title(m)
        yield m, name if name != last else ""
        last = name


def _runtime(m: results.Measurement) -> Text:
    text = Text(wording.runtime(m))
    return text if m.status == "ok" else text.append("\nfailed", style="bold red")


def _below(result: results.Result) -> list[RenderableType]:
    lines: list[RenderableType] = [
        Text(line)
        for line in (
            *wording.comparisons(result),
            *summary.best_lines(result),
            *summary.ratio_lines(result),
        )
    ]
    if result.counted:
        lines += [Text(line) for line in wording.instruction_ratios(result)]
        lines.append(Text(wording.COUNTED))
    elif result.emulated:
        lines.append(Text(wording.NO_RATIO, style="red"))
    if not result.complete:
        lines.append(Text("This run was cut short; not all jobs are here.", style="bold red"))
    for m in result.measurements:
        name = f"{wording.title(m)}, {wording.configuration(m)}"
        if m.error is not None:
            failure = f"{name} failed ({m.error.stage}): {m.error.kind}: {m.error.message}"
            lines.append(Text(failure, style="bold red"))
        lines += [Text(f"{name}: {note}", style="yellow") for note in wording.notes(m)]
    return lines


def _page(found: Sequence[results.Result], *, emulated: bool, real: bool) -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(PAGE).render(
        w=wording,
        summary=summary,
        mark=results.EMULATED,
        emulated=emulated,
        real=real,
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        hosts=[
            {"result": result, "plots": _plots(result, f"h{number}")}
            for number, result in enumerate(found)
        ],
    )


def _plots(result: results.Result, key: str) -> dict[str, list[str]]:
    """The SVGs of one host by kind; see the template for what each shows."""
    by_model: dict[str, list[results.Measurement]] = {}
    for m in result.measurements:
        by_model.setdefault(wording.title(m), []).append(m)
    plots: dict[str, list[str]] = {
        "batch": curves.by_batch(result),
        "latency": [],
        "memory": [],
        "size": [],
        "accuracy": [],
        "trace": [],
    }
    for number, (title, measured) in enumerate(by_model.items()):
        _plot_model(plots, title, measured, emulated=result.emulated, key=f"{key}m{number}")
    return plots


def _plot_model(
    plots: dict[str, list[str]],
    title: str,
    measured: Sequence[results.Measurement],
    *,
    emulated: bool,
    key: str,
) -> None:
    timed = [(m, t) for m in measured if (t := m.timing()) is not None]
    if timed:
        bars = [
            charts.Bar(
                label=wording.configuration(m),
                value=t.latency_ns / 1e6,
                text=wording.milliseconds(t.latency_ns),
                runtime=m.runtime,
                observations=[ns / 1e6 for ns in m.samples_ns],
            )
            for m, t in timed
        ]
        plots["latency"].append(
            charts.bars(f"{title}: latency", bars, emulated=emulated, key=f"{key}l")
        )
    memory = [
        charts.Bar(
            label=wording.configuration(m),
            value=m.peak_rss_bytes / rows.MIB,
            text=wording.mebibytes(m.peak_rss_bytes),
            runtime=m.runtime,
        )
        for m in measured
        if m.peak_rss_bytes
    ]
    if memory:
        plots["memory"].append(
            charts.bars(f"{title}: peak memory", memory, emulated=False, key=f"{key}p")
        )
    sizes = [
        charts.Bar(
            label=wording.runtime(m),
            value=m.artifact.size / 1e3,
            text=f"{wording.number(m.artifact.size / 1e3)} kB",
            runtime=m.runtime,
        )
        for m in {(m.runtime, m.variant): m for m in measured}.values()
        if m.artifact
    ]
    if len(sizes) > 2:
        plots["size"].append(charts.bars(f"{title}: size", sizes, emulated=False, key=f"{key}s"))
    shares = [
        charts.Interval(
            label=wording.configuration(m),
            share=rows.accuracy_of(m.accuracy),
            reference=m.accuracy.reference_correct / m.accuracy.total,
            runtime=m.runtime,
        )
        for m in measured
        if m.accuracy
    ]
    if shares:
        plots["accuracy"].append(charts.intervals(f"{title}: top-1 accuracy", shares))
    plots["trace"] += [
        charts.trace(
            f"{title}, {wording.configuration(m)}",
            [ns / 1e6 for ns in m.samples_ns],
            m.runtime,
            emulated=emulated,
        )
        for m, _ in timed
    ]
