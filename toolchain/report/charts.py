"""The report's plots as inline SVG.

Colours are CSS variables of the page, so that dark mode and print work; text stays text. The
viewBox is a phone's width, so that nothing is shrunk there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TypeVar

from toolchain.report import wording
from toolchain.results import EMULATED
from toolchain.statistics import Proportion, percentile

T = TypeVar("T")

WIDTH = 400
ROW = 46
LEFT = 2
RIGHT = WIDTH - 2
MOST_TICKS = 120
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
class Interval:
    """One share with its confidence interval, beside the reference's share."""

    label: str
    share: Proportion
    reference: float
    runtime: str


def bars(title: str, found: Sequence[Bar], *, emulated: bool, key: str) -> str:
    """Horizontal bars from zero; ticks under a bar are its observations.

    Args:
        title: said above the plot.
        found: the bars, top to bottom.
        emulated: hatch them and say so.
        key: unique in the page; names the hatch pattern.
    """
    # Rare outliers must not squeeze all bars: the scale ends at the 99th percentile, and no later
    # than at twice the longest bar.
    tails = [percentile(b.observations, 99) for b in found if b.observations]
    longest = max(b.value for b in found)
    top = min(max([longest, *tails]), 2 * longest) or 1.0
    body, y = _head(title, emulated=emulated)
    for number, bar in enumerate(found):
        fill = f"url(#{key}-{number})" if emulated else f"var(--{bar.runtime})"
        if emulated:
            body.append(_hatch(f"{key}-{number}", bar.runtime))
        width = _scale(bar.value, top)
        mark = f' <tspan class="mark">{EMULATED}</tspan>' if emulated else ""
        body += [
            f'<text x="{LEFT}" y="{y + 12}" class="label">{escape(bar.label)}</text>',
            (
                f'<text x="{RIGHT}" y="{y + 12}" class="value" text-anchor="end">'
                f"{escape(bar.text)}{mark}</text>"
            ),
            (
                f'<rect x="{LEFT}" y="{y + 18}" width="{width:.1f}" height="14" rx="2" '
                f'fill="{fill}" stroke="var(--{bar.runtime})"/>'
            ),
        ]
        body += [
            f'<path d="M{LEFT + _scale(t, top):.1f} {y + 34}v5" class="tick"/>'
            for t in _thinned(sorted(bar.observations), MOST_TICKS)
            if t <= top
        ]
        y += ROW
    return _svg(title, body, y, emulated=emulated)


def intervals(title: str, found: Sequence[Interval]) -> str:
    """Shares as dots with whiskers, and the reference as an upright line."""
    low = min([i.share.low for i in found] + [i.reference for i in found])
    high = max([i.share.high for i in found] + [i.reference for i in found])
    floor = max(0.0, math.floor(low * 20 - 0.5) / 20)
    ceiling = min(1.0, math.ceil(high * 20 + 0.5) / 20)
    reach = ceiling - floor or 1.0

    def x(share: float) -> float:
        return LEFT + 4 + (share - floor) / reach * (RIGHT - LEFT - 8)

    body, y = _head(title, emulated=False)
    for one in found:
        share, colour = one.share, f"var(--{one.runtime})"
        body += [
            f'<text x="{LEFT}" y="{y + 12}" class="label">{escape(one.label)}</text>',
            (
                f'<text x="{RIGHT}" y="{y + 12}" class="value" text-anchor="end">'
                f"{wording.percent(share.share)}</text>"
            ),
            f'<path d="M{x(floor):.1f} {y + 26}H{x(ceiling):.1f}" class="axis"/>',
            f'<path d="M{x(one.reference):.1f} {y + 17}v18" class="reference"/>',
            (
                f'<path d="M{x(share.low):.1f} {y + 26}H{x(share.high):.1f}M{x(share.low):.1f} '
                f'{y + 21}v10M{x(share.high):.1f} {y + 21}v10" stroke="{colour}" stroke-width="2"/>'
            ),
            f'<circle cx="{x(share.share):.1f}" cy="{y + 26}" r="4.5" fill="{colour}"/>',
        ]
        y += ROW
    body += [
        f'<text x="{LEFT}" y="{y + 8}" class="axis-text">{wording.percent(floor)}</text>',
        (
            f'<text x="{RIGHT}" y="{y + 8}" class="axis-text" text-anchor="end">'
            f"{wording.percent(ceiling)}</text>"
        ),
    ]
    return _svg(title, body, y + 16, emulated=False)


def trace(title: str, times_ms: Sequence[float], runtime: str, *, emulated: bool) -> str:
    """Each time in the order measured, from zero: drift and throttling show as a slope."""
    top = percentile(times_ms, 99) * 1.15 or 1.0
    height = 84
    body, y = _head(title, emulated=emulated)
    kept = _thinned(list(enumerate(times_ms)), MOST_DOTS)
    last = max(len(times_ms) - 1, 1)
    for number, value in kept:
        x = LEFT + 4 + number / last * (RIGHT - LEFT - 8)
        beyond = value > top
        dot_y = y + 2 if beyond else y + height - value / top * (height - 6)
        shape = "beyond" if beyond else "dot"
        body.append(
            f'<circle cx="{x:.1f}" cy="{dot_y:.1f}" r="1.8" class="{shape}" '
            f'fill="var(--{runtime})"/>'
        )
    foot = y + height
    mark = f"{EMULATED} " if emulated else ""
    body += [
        f'<path d="M{LEFT} {foot}H{RIGHT}" class="axis"/>',
        f'<text x="{LEFT}" y="{foot + 13}" class="axis-text">first</text>',
        (
            f'<text x="{WIDTH / 2}" y="{foot + 13}" class="axis-text" text-anchor="middle">'
            f"0 to {mark}{wording.number(top)} ms</text>"
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


def _head(title: str, *, emulated: bool) -> tuple[list[str], int]:
    body = [f'<text x="{LEFT}" y="14" class="title">{escape(title)}</text>']
    if not emulated:
        return body, 26
    body.append(f'<text x="{LEFT}" y="31" class="mark">{EMULATED}: not the speed of a board</text>')
    return body, 42


def _hatch(key: str, runtime: str) -> str:
    return (
        f'<pattern id="{key}" width="7" height="7" patternUnits="userSpaceOnUse" '
        f'patternTransform="rotate(45)"><rect width="7" height="7" fill="var(--paper)"/>'
        f'<rect width="3" height="7" fill="var(--{runtime})"/></pattern>'
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
