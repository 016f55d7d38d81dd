"""The report's plots as inline SVG.

Colours are CSS variables of the page, so that dark mode and print work; text stays text. The
viewBox is a phone's width, so that nothing is shrunk there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TypeVar

from toolchain.report import formatting
from toolchain.report.charts import runtime_style
from toolchain.report.charts.axes import Scale, along_foot, along_side
from toolchain.results.measurement import EMULATED
from toolchain.results.statistics import Proportion, percentile

T = TypeVar("T")

WIDTH = 400
ROW = 46
SHARE_ROW = 54
TRACE = 84  # the height of its drawing
GUTTER = 46  # left of an upright axis, for its words
FOOT = 18  # of an axis, its words in it
LEFT = 2
RIGHT = WIDTH - 2
MOST_TICKS = 120
LONGEST = 46  # letters of a title that have their usual width
MOST_DOTS = 400


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar: its label, value, the text of the value, its runtime, and single observations."""

    label: str
    value: float
    text: str
    runtime: str
    observations: Sequence[float] = ()


@dataclass(frozen=True, kw_only=True)
class Shares:
    """One configuration's accuracy, as shares of 1.

    Attributes:
        label: what was run.
        runtime: its colour.
        top1, top5: with their intervals.
        here: the reference's top-1 on the same inputs.
        published: top-1 and top-5 that others measured; None where there is none.
    """

    label: str
    runtime: str
    top1: Proportion
    top5: Proportion
    here: float
    published: tuple[float | None, float | None] = (None, None)


def bars(title: str, values: Sequence[Bar], *, unit: str, emulated: bool, key: str) -> str:
    """Horizontal bars from zero; ticks under a bar are its observations.

    Args:
        title: said above the plot.
        values: the bars, top to bottom.
        unit: of the values.
        emulated: hatch them and say so.
        key: unique in the page; names the hatch pattern.
    """
    # Rare outliers must not squeeze all bars: the scale ends at the 99th percentile, and no later
    # than at twice the longest bar.
    tails = [percentile(b.observations, 99) for b in values if b.observations]
    longest = max(b.value for b in values)
    top = min(max([longest, *tails]), 2 * longest) or 1.0
    body, y = _head(title, emulated=emulated)
    scale = Scale(high=top, start=LEFT, end=RIGHT, unit=unit)
    foot = y + ROW * len(values)
    body += along_foot(scale, y, foot)
    for number, bar in enumerate(values):
        colour = runtime_style.variable(bar.runtime)
        fill = f'fill="{colour}"'
        if emulated:
            fill = f'fill="url(#{key}-{number})" stroke="{colour}"'
            body.append(_hatch(f"{key}-{number}", bar.runtime))
        width = scale.place(bar.value) - LEFT
        mark = f' <tspan class="mark">{EMULATED}</tspan>' if emulated else ""
        body += [
            f'<text x="{LEFT}" y="{y + 12}">{escape(bar.label)}</text>',
            (f'<text x="{RIGHT}" y="{y + 12}" class="value">{escape(bar.text)}{mark}</text>'),
            (f'<rect x="{LEFT}" y="{y + 18}" width="{width:.1f}" height="14" {fill}/>'),
        ]
        ticks = [t for t in _thinned(sorted(bar.observations), MOST_TICKS) if t <= top]
        if ticks:
            drawn = "".join(f"M{scale.place(t):.1f} {y + 34}v5" for t in ticks)
            body.append(f'<path d="{drawn}" class="tick"/>')
        y += ROW
    return _svg(title, body, foot + FOOT, emulated=emulated)


def shares(title: str, configurations: Sequence[Shares]) -> str:
    """Top-1 (thick) and top-5 (thin) as bars from zero to all, with whiskers for their intervals.

    An upright dashed line is the reference on the same inputs, a diamond what others published.
    """
    body, y = _head(title, emulated=False)
    foot = y + SHARE_ROW * len(configurations)
    body += along_foot(Scale(high=100, start=LEFT, end=RIGHT, unit="%"), y, foot)
    for configuration in configurations:
        colour = runtime_style.variable(configuration.runtime)
        top1, top5 = configuration.top1, configuration.top5
        here = LEFT + _scale(configuration.here, 1)
        text = f"{formatting.percent(top1.share)} / {formatting.percent(top5.share)}"
        body += [
            f'<text x="{LEFT}" y="{y + 12}">{escape(configuration.label)}</text>',
            (f'<text x="{RIGHT}" y="{y + 12}" class="value">{escape(text)}</text>'),
            *_share(top1, y + 18, 14, f'fill="{colour}"'),
            *_share(top5, y + 36, 7, f'fill="{colour}" fill-opacity=".45"'),
            f'<path d="M{here:.1f} {y + 15}v20" class="reference"/>',
        ]
        body += [
            f'<path d="M{LEFT + _scale(share, 1):.1f} {middle - 5}l5 5l-5 5l-5 -5z" '
            'class="published"/>'
            for share, middle in zip(configuration.published, (y + 25, y + 39.5), strict=True)
            if share is not None
        ]
        y += SHARE_ROW
    return _svg(title, body, foot + FOOT, emulated=False)


def _share(share: Proportion, y: float, height: float, fill: str) -> list[str]:
    middle, reach = y + height / 2, height / 2 - 1
    low, high = (LEFT + _scale(value, 1) for value in (share.low, share.high))
    return [
        (
            f'<rect x="{LEFT}" y="{y}" width="{_scale(share.share, 1):.1f}" height="{height}" '
            f"{fill}/>"
        ),
        (
            f'<path d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - reach}v{2 * reach}'
            f'M{high:.1f} {middle - reach}v{2 * reach}" class="whisker"/>'
        ),
    ]


def trace(title: str, times_ms: Sequence[float], runtime: str, *, emulated: bool) -> str:
    """Each time in the order measured, from zero: drift and throttling show as a slope."""
    top = percentile(times_ms, 99) * 1.15 or 1.0
    body, y = _head(title, emulated=emulated)
    foot = y + TRACE
    scale = Scale(high=top, start=foot, end=y + 6, unit="ms", most=3)
    body += along_side(scale, GUTTER, RIGHT)
    kept = _thinned(list(enumerate(times_ms)), MOST_DOTS)
    last = max(len(times_ms) - 1, 1)
    places: dict[str, list[str]] = {"dot": [], "beyond": []}
    for number, value in kept:
        x = GUTTER + 4 + number / last * (RIGHT - GUTTER - 8)
        beyond = value > top
        dot_y = y + 2 if beyond else scale.place(value)
        # a stroke of no length with round ends is a dot
        places["beyond" if beyond else "dot"].append(f"M{x:.1f} {dot_y:.1f}h0")
    colour = runtime_style.variable(runtime)
    body += [
        f'<path d="{"".join(drawn)}" class="{shape}" stroke="{colour}"/>'
        for shape, drawn in places.items()
        if drawn
    ]
    mark = f"{EMULATED} " if emulated else ""
    body += [
        f'<text x="{GUTTER}" y="{foot + 13}" class="axis-text">first</text>',
        (
            f'<text x="{WIDTH / 2}" y="{foot + 13}" class="axis-text" text-anchor="middle">'
            f"0 to {mark}{formatting.number(top)} ms</text>"
        ),
        (
            f'<text x="{RIGHT}" y="{foot + 13}" class="axis-text" text-anchor="end">'
            f"last of {len(times_ms)}</text>"
        ),
    ]
    return _svg(title, body, foot + 20, emulated=emulated)


def figure(title: str, body: Sequence[str], height: float) -> str:
    """A plot of real times made of SVG elements below its title."""
    return _svg(title, body, height, emulated=False)


def heading(title: str) -> str:
    """A plot's title; a long one is drawn closer, so that none of it is cut."""
    closer = f' textLength="{RIGHT - LEFT}" lengthAdjust="spacingAndGlyphs"'
    long = closer if len(title) > LONGEST else ""
    return f'<text x="{LEFT}" y="14" class="title"{long}>{escape(title)}</text>'


def _head(title: str, *, emulated: bool) -> tuple[list[str], int]:
    body = [heading(title)]
    if not emulated:
        return body, 26
    body.append(f'<text x="{LEFT}" y="31" class="mark">{EMULATED}: not the speed of a board</text>')
    return body, 42


def _hatch(key: str, runtime: str) -> str:
    return (
        f'<pattern id="{key}" width="7" height="7" patternUnits="userSpaceOnUse" '
        f'patternTransform="rotate(45)"><rect width="7" height="7" fill="var(--paper)"/>'
        f'<rect width="3" height="7" fill="{runtime_style.variable(runtime)}"/></pattern>'
    )


def _svg(title: str, body: Sequence[str], height: float, *, emulated: bool) -> str:
    name = f"{title} ({EMULATED})" if emulated else title
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(name)}">'
        + "".join(body)
        + "</svg>"
    )


def _scale(value: float, top: float) -> float:
    return value / top * (RIGHT - LEFT)


def _thinned(values: Sequence[T], most: int) -> list[T]:
    """At most so many of the values, evenly spread, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    step = (len(values) - 1) / (most - 1)
    return [values[round(i * step)] for i in range(most)]
