"""The scales of the report's plots: round ticks with their unit, as inline SVG.

Same page, same rules as `latency_chart`. A scale knows where a value is; nothing is drawn of data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

STEPS = (1, 2, 5, 10)  # Heckbert, "Nice Numbers for Graph Labels", Graphics Gems, 1990
FEWEST = 2  # ticks
EDGE = 24  # of a tick's words, which are centred unless the plot ends nearer than that


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Values along a line of the drawing.

    Attributes:
        low, high: the values at its ends, `low` below `high`.
        start, end: where these are, in the drawing's units.
        unit: of the values, said at the last tick.
        most: steps from tick to tick.
    """

    low: float = 0.0
    high: float
    start: float
    end: float
    unit: str
    most: int = 5

    def place(self, value: float) -> float:
        """Where a value is."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values between the ends: multiples of 1, 2 or 5 times a power of ten.

        Two at least: of few steps the least that is round may leave all but one out.
        """
        least = (self.high - self.low) / self.most
        power = 10.0 ** math.floor(math.log10(least))
        chosen = next(n for n, of in enumerate(STEPS) if power * of >= least * (1 - 1e-9))
        finer = [power / 10 * of for of in STEPS[:-1]] + [power * of for of in STEPS[: chosen + 1]]
        found: list[float] = []
        while len(found) < FEWEST:
            step = finer.pop()
            first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
            found = [number * step for number in range(first, last + 1)]
        return found


def along_foot(scale: Scale, top: float, foot: float) -> list[str]:
    """Upright lines at the ticks of a scale that lies below a plot, and their words.

    Args:
        scale: from left to right.
        top: where the lines begin.
        foot: where they end; the words are below.
    """
    ticks = scale.ticks()
    places = [scale.place(value) for value in ticks]
    lines = "".join(f"M{x:.1f} {top:g}V{foot:g}" for x in places)
    return [
        f'<path d="{lines}M{scale.start:g} {foot:g}H{scale.end:g}" class="axis"/>',
        '<g class="axis-text">',
        *(
            f'<text x="{x:.1f}" y="{foot + 13:g}"{_anchor(scale, x)}>{words}</text>'
            for x, words in zip(places, _words(scale, ticks), strict=True)
        ),
        "</g>",
    ]


def along_side(scale: Scale, left: float, right: float) -> list[str]:
    """Level lines at the ticks of an upright scale, and their words left of it.

    Args:
        scale: from its start upwards.
        left: where the lines begin; the words end before it.
        right: where the lines end.
    """
    ticks = scale.ticks()
    places = [scale.place(value) for value in ticks]
    lines = "".join(f"M{left:g} {y:.1f}H{right:g}" for y in places)
    return [
        f'<path d="{lines}M{left:g} {scale.end:g}V{scale.start:g}" class="axis"/>',
        '<g class="axis-text" text-anchor="end">',
        *(
            f'<text x="{left - 4:g}" y="{y + 4:.1f}">{words}</text>'
            for y, words in zip(places, _words(scale, ticks, unit=False), strict=True)
        ),
        "</g>",
    ]


def _anchor(scale: Scale, x: float) -> str:
    """Where the words of a tick begin: they stay between the ends of the scale."""
    if x - scale.start < EDGE / 2:
        return ""
    return ' text-anchor="end"' if scale.end - x < EDGE else ' text-anchor="middle"'


def _words(scale: Scale, ticks: Sequence[float], *, unit: bool = True) -> list[str]:
    words = [f"{value:,.6g}" for value in ticks]
    if unit and words:
        words[-1] += f" {escape(scale.unit)}"
    return words
