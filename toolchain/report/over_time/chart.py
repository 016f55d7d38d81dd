"""One configuration over its runs as inline SVG: values from zero, a ring where it got worse.

Same page, same rules as `latency_chart`.
"""

from __future__ import annotations

from html import escape

from toolchain.report import formatting
from toolchain.report.charts import runtime_style
from toolchain.report.charts.latency_chart import LEFT, RIGHT, figure
from toolchain.report.over_time.series import History, Run

TOP, HEIGHT = 40, 90
BASE = TOP + HEIGHT
MOST = 200  # runs of a plot: the newest


def plot(history: History) -> str:
    """The values of a configuration's runs, which are evenly spaced.

    Args:
        history: its runs.
    """
    runs = history.runs[-MOST:]
    top = max(run.value for run in runs) * 1.05 or 1.0
    span = f"0 to {formatting.number(top)} {history.unit}"
    step = (RIGHT - LEFT - 12) / max(len(runs) - 1, 1)
    points = [
        (LEFT + 6 + number * step, BASE - run.value / top * HEIGHT)
        for number, run in enumerate(runs)
    ]
    colour = runtime_style.variable(history.runtime)
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    body = [
        f'<text x="{LEFT}" y="14" class="title">{escape(history.what)}</text>',
        f'<text x="{LEFT}" y="31" class="axis-text">{span}</text>',
        f'<path d="M{LEFT} {TOP}H{RIGHT}M{LEFT} {BASE}H{RIGHT}" class="axis"/>',
        f'<path d="M{path}" stroke="{colour}" stroke-width="2" fill="none"/>',
        *(_dot(run, history, *point, colour) for run, point in zip(runs, points, strict=True)),
        f'<text x="{LEFT}" y="{BASE + 15}" class="axis-text">{runs[0].at:%Y-%m-%d}</text>',
        (
            f'<text x="{RIGHT}" y="{BASE + 15}" class="axis-text" text-anchor="end">'
            f"{runs[-1].at:%Y-%m-%d}</text>"
        ),
    ]
    return figure(f"{history.what} on {history.host}", body, BASE + 22)


def _dot(run: Run, history: History, x: float, y: float, colour: str) -> str:
    verdict = run.change.verdict if run.change else "first"
    said = f"{run.result}: {formatting.number(run.value)} {history.unit}, {verdict}"
    ring = (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6.5" class="beyond" fill="none"/>'
        if verdict == "slower"
        else ""
    )
    return (
        f'<g><title>{escape(said)}</title>{ring}<circle cx="{x:.1f}" cy="{y:.1f}" r="3" '
        f'fill="{colour}"/></g>'
    )
