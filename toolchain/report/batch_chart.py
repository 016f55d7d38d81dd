"""Throughput against batch size as inline SVG: a line for each runtime and optimisation level.

Same page, same rules as `charts`: colours are the page's variables, text is text, a phone's width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from toolchain.report import formatting, summary
from toolchain.report.latency_chart import LEFT, RIGHT, figure
from toolchain.report.summary import Point
from toolchain.results import measurement

HEIGHT = 150
LEGEND_ROW = 18
FOOT = 18
# TVM's levels are told apart by their dashes, for readers and printers without colours.
DASHES = {"0": "1 4", "1": "4 4", "2": "9 4"}


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line: its name, its runtime, and inputs a second by batch."""

    label: str
    runtime: str
    fps: dict[int, float]


def by_batch(result: measurement.Result) -> list[str]:
    """The plots of a host: for each form of a model and each number of threads, and the best ones.

    None where only one batch was measured, or the device is emulated.
    """
    groups: dict[tuple[str, str], list[Point]] = {}
    for point in summary.points(result):
        groups.setdefault((point.measurement.model, point.form), []).append(point)
    plots = []
    for (model, form), found in sorted(groups.items()):
        if len({p.measurement.batch for p in found}) < 2:
            continue
        threads = sorted({p.measurement.threads for p in found})
        lines = [_series([p for p in found if p.measurement.threads == n]) for n in threads]
        plots += [
            lines_plot(f"{model} {form}: FPS by batch, {formatting.threads(n)}", of)
            for n, of in zip(threads, lines, strict=True)
        ]
        if len(threads) > 1 or any(len(of) > 2 for of in lines):
            plots.append(lines_plot(f"{model} {form}: best against best", _best(found)))
    return plots


def _series(found: Sequence[Point]) -> list[Series]:
    by_name: dict[tuple[str, str], dict[int, float]] = {}
    for point in found:
        m = point.measurement
        by_name.setdefault((m.runtime, formatting.runtime(m)), {})[m.batch] = point.fps
    return [
        Series(label=label, runtime=runtime, fps=dict(sorted(fps.items())))
        for (runtime, label), fps in sorted(by_name.items())
    ]


def _best(found: Sequence[Point]) -> list[Series]:
    best: dict[str, dict[int, float]] = {}
    for point in found:
        at = best.setdefault(point.measurement.runtime, {})
        batch = point.measurement.batch
        at[batch] = max(point.fps, at.get(batch, 0.0))
    names = {"tflite": "TFLite, best of all", "tvm": "TVM, best of all"}
    return [
        Series(label=names[runtime], runtime=runtime, fps=dict(sorted(fps.items())))
        for runtime, fps in sorted(best.items())
    ]


def lines_plot(title: str, found: Sequence[Series]) -> str:
    """Lines over batches, which are evenly spaced; FPS from zero.

    Args:
        title: said above the plot.
        found: the lines, in the order of the legend.
    """
    batches = sorted({batch for one in found for batch in one.fps})
    top = max((fps for one in found for fps in one.fps.values()), default=1.0) * 1.05
    first, base = 40, 40 + HEIGHT

    def x(batch: int) -> float:
        share = batches.index(batch) / max(len(batches) - 1, 1)
        return LEFT + 12 + share * (RIGHT - LEFT - 24)

    def y(fps: float) -> float:
        return base - fps / top * HEIGHT

    body = [
        f'<text x="{LEFT}" y="14" class="title">{escape(title)}</text>',
        f'<text x="{LEFT}" y="31" class="axis-text">0 to {formatting.number(top)} FPS</text>',
        f'<path d="M{LEFT} {first}H{RIGHT}M{LEFT} {base}H{RIGHT}" class="axis"/>',
    ]
    body += [
        f'<text x="{x(batch):.1f}" y="{base + 14}" class="axis-text" text-anchor="middle">'
        f"{batch}</text>"
        for batch in batches
    ]
    row = base + FOOT + 14
    for one in found:
        level = one.label[-1] if one.runtime == "tvm" else ""
        dash = f' stroke-dasharray="{DASHES[level]}"' if level in DASHES else ""
        stroke = f'stroke="var(--{one.runtime})" stroke-width="2" fill="none"{dash}'
        path = "L".join(f"{x(b):.1f} {y(fps):.1f}" for b, fps in one.fps.items())
        body.append(f'<path d="M{path}" {stroke}/>')
        body += [
            f'<circle cx="{x(b):.1f}" cy="{y(fps):.1f}" r="3" fill="var(--{one.runtime})"/>'
            for b, fps in one.fps.items()
        ]
        most = max(one.fps.values())
        body += [
            f'<path d="M{LEFT} {row - 4}h34" {stroke}/>',
            f'<text x="{LEFT + 42}" y="{row}" class="label">{escape(one.label)}</text>',
            (
                f'<text x="{RIGHT}" y="{row}" class="value" text-anchor="end">'
                f"up to {formatting.number(most)} FPS</text>"
            ),
        ]
        row += LEGEND_ROW
    return figure(title, body, row - LEGEND_ROW + 8)
