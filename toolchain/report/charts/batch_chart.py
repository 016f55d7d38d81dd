"""Throughput against batch size as inline SVG: a line for each runtime and optimisation level.

Same page, same rules as `latency_chart`: colours are the page's variables, text is text, a phone's
width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from toolchain.report import formatting, summary
from toolchain.report.charts import runtime_style
from toolchain.report.charts.axes import Scale, along_side
from toolchain.report.charts.latency_chart import GUTTER, LEFT, RIGHT, figure, heading
from toolchain.report.summary import Point
from toolchain.results import measurement

TOP = 40
HEIGHT = 150
BASE = TOP + HEIGHT
LEGEND_ROW = 18
FOOT = 18
# Levels are told apart by their dashes, for readers and printers without colours.
DASHES = {0: "1 4", 1: "4 4", 2: "9 4"}


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line.

    Attributes:
        label: what the legend says.
        runtime: its colour.
        opt_level: its dashes; None for a line that is not of one level.
        fps: inputs a second by batch, in the order of the batches.
    """

    label: str
    runtime: str
    opt_level: int | None
    fps: dict[int, float]


def by_batch(result: measurement.Result, *, best_alone: bool = False) -> list[str]:
    """The plots of a host: for each variant of a model and each number of threads, and the best.

    None where only one batch was measured, or the device is emulated.

    Args:
        result: of one device.
        best_alone: leave out those of a number of threads.
    """
    groups: dict[tuple[str, str], list[Point]] = {}
    for point in summary.points(result):
        groups.setdefault((point.measurement.model, point.measurement.variant), []).append(point)
    return [
        plot
        for (model, variant), points in sorted(groups.items())
        if len({point.measurement.batch for point in points}) > 1
        for plot in (
            [lines_plot(f"{model} {variant}: best against best", _best(points))]
            if best_alone
            else _plots(f"{model} {variant}", points)
        )
    ]


def _plots(name: str, points: Sequence[Point]) -> list[str]:
    threads = sorted({point.measurement.threads for point in points})
    by_threads = [_series([p for p in points if p.measurement.threads == n]) for n in threads]
    plots = [
        lines_plot(f"{name}: FPS by batch, {formatting.threads(n)}", series)
        for n, series in zip(threads, by_threads, strict=True)
    ]
    if len(threads) > 1 or any(len(series) > 2 for series in by_threads):
        plots.append(lines_plot(f"{name}: best against best", _best(points)))
    return plots


def _series(points: Iterable[Point]) -> list[Series]:
    lines: dict[tuple[str, str, int | None], dict[int, float]] = {}
    for point in points:
        m = point.measurement
        key = (m.runtime, formatting.runtime(m.configuration), m.opt_level)
        lines.setdefault(key, {})[m.batch] = point.fps
    return [
        Series(label=label, runtime=runtime, opt_level=level, fps=dict(sorted(fps.items())))
        for (runtime, label, level), fps in sorted(lines.items(), key=lambda line: line[0][:2])
    ]


def _best(points: Iterable[Point]) -> list[Series]:
    best: dict[str, dict[int, float]] = {}
    for point in points:
        fps, batch = best.setdefault(point.measurement.runtime, {}), point.measurement.batch
        fps[batch] = max(point.fps, fps.get(batch, 0.0))
    return [
        Series(
            label=f"{runtime_style.label(runtime)}, best of all",
            runtime=runtime,
            opt_level=None,
            fps=dict(sorted(fps.items())),
        )
        for runtime, fps in sorted(best.items())
    ]


def lines_plot(title: str, series: Sequence[Series]) -> str:
    """Lines over batches, which are evenly spaced; FPS from zero.

    Args:
        title: said above the plot.
        series: the lines, in the order of the legend.
    """
    batches = sorted({batch for line in series for batch in line.fps})
    top = max((fps for line in series for fps in line.fps.values()), default=1.0) * 1.05
    scale = Scale(high=top, start=BASE, end=TOP, unit="FPS")
    step = (RIGHT - GUTTER - 24) / max(len(batches) - 1, 1)
    x = {batch: GUTTER + 12 + number * step for number, batch in enumerate(batches)}
    body = [
        heading(title),
        f'<text x="{LEFT}" y="31" class="axis-text">inputs a second (FPS), by batch</text>',
        *along_side(scale, GUTTER, RIGHT),
    ]
    body += [
        f'<text x="{x[batch]:.1f}" y="{BASE + 14}" class="axis-text" text-anchor="middle">'
        f"{batch}</text>"
        for batch in batches
    ]
    legend = BASE + FOOT + 14
    for number, line in enumerate(series):
        points = [(x[batch], scale.place(fps)) for batch, fps in line.fps.items()]
        body += _line(line, points, legend + number * LEGEND_ROW)
    return figure(title, body, legend + (len(series) - 1) * LEGEND_ROW + 8)


def _line(line: Series, points: Sequence[tuple[float, float]], row: int) -> list[str]:
    """A line through its points, and its row of the legend."""
    colour = runtime_style.variable(line.runtime)
    dashes = DASHES.get(line.opt_level) if line.opt_level is not None else None
    dash = f' stroke-dasharray="{dashes}"' if dashes else ""
    stroke = f'class="line" stroke="{colour}"{dash}'
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    shape = runtime_style.shape(line.runtime)
    marks = "".join(f"M{x:.1f} {y:.1f}{shape}" for x, y in [*points, (LEFT + 17, row - 4)])
    return [
        f'<path d="M{path}" {stroke}/>',
        f'<path d="M{LEFT} {row - 4}h34" {stroke}/>',
        f'<path d="{marks}" fill="{colour}"/>',
        f'<text x="{LEFT + 42}" y="{row}">{escape(line.label)}</text>',
        (
            f'<text x="{RIGHT}" y="{row}" class="value">'
            f"up to {formatting.number(max(line.fps.values()))} FPS</text>"
        ),
    ]
