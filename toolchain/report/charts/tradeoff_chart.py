"""What one thing costs in another, as inline SVG: accuracy against latency, size against latency.

A point is a configuration. Those that no other beats in both are the Pareto front: they are joined,
have numbers, and stand in words below the plot. Same page, same rules as `latency_chart`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from toolchain.accuracy.counts import Run
from toolchain.report import candidates, formatting
from toolchain.report.candidates import Candidate
from toolchain.report.charts import runtime_style
from toolchain.report.charts.axes import Scale, along_foot, along_side
from toolchain.report.charts.latency_chart import GUTTER, LEFT, RIGHT, figure, heading
from toolchain.results.measurement import Result

TOP, BASE = 44, 214
LEGEND_ROW = 32
FEWEST = 3  # points of which a plot says more than a sentence
ROOM = 0.06  # of a scale, left empty at its ends


@dataclass(frozen=True, kw_only=True)
class Point:
    """One configuration.

    Attributes:
        label: the configuration in words.
        runtime: its colour.
        cost, value: what the axes show.
        text: both in words.
    """

    label: str
    runtime: str
    cost: float
    value: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Axis:
    """The upright one.

    Attributes:
        name: what it shows.
        words: a value for people.
        unit: of its ticks up to a value, and how much of the values it is.
        more_is_better: or less is.
        from_zero: where it begins; else it spans what there is.
        most: what no value is above; None where there is no such.
    """

    name: str
    words: Callable[[float], str]
    unit: Callable[[float], tuple[str, float]]
    more_is_better: bool
    from_zero: bool
    most: float | None = None


ACCURACY = Axis(
    name="top-1",
    words=formatting.percent,
    unit=lambda _: ("%", 0.01),
    more_is_better=True,
    from_zero=False,
    most=1.0,
)
SIZE = Axis(
    name="size",
    words=lambda value: formatting.size(round(value)),
    unit=formatting.size_unit,
    more_is_better=False,
    from_zero=True,
)


def by_model(result: Result, runs: Sequence[Run] = ()) -> list[str]:
    """Both plots of each network at each batch, where there are points enough."""
    plots = []
    for title, found in candidates.by_title(result, runs).items():
        for axis, value in ((ACCURACY, _top1), (SIZE, _size)):
            points = [
                _point(one, shown, axis, counted=result.counted)
                for one in found
                if (shown := value(one)) is not None
            ]
            if len({(point.cost, point.value) for point in points}) >= FEWEST:
                against = "instructions" if result.counted else "latency"
                name = f"{title}: {axis.name} against {against}"
                plots.append(plot(name, points, axis, counted=result.counted))
    return plots


def _top1(of: Candidate) -> float | None:
    return of.top1.there if of.top1 else None


def _size(of: Candidate) -> float | None:
    return of.size or None


def _point(of: Candidate, value: float, axis: Axis, *, counted: bool) -> Point:
    cost = candidates.cost(of.cost, counted=counted)
    return Point(
        label=of.words,
        runtime=of.measured.runtime,
        cost=of.cost,
        value=value,
        text=f"{cost}, {axis.words(value)}",
    )


def front(points: Sequence[Point], *, more_is_better: bool) -> list[Point]:
    """The Pareto front: the points that no other beats in one of both and equals in the other.

    Args:
        points: of which less cost is better.
        more_is_better: of the value; else less of it is.

    Returns:
        By their cost, the least first; of equal points the first.
    """
    sign = -1.0 if more_is_better else 1.0
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost, sign * p.value)):
        if not kept or sign * point.value < sign * kept[-1].value:
            kept.append(point)
    return kept


def plot(title: str, points: Sequence[Point], axis: Axis, *, counted: bool) -> str:
    """Points over their cost, which begins at zero, and the front in words below.

    Args:
        title: said above the plot.
        points: at least one.
        axis: the upright one.
        counted: the cost is guest instructions; else nanoseconds.
    """
    best = front(points, more_is_better=axis.more_is_better)
    longest = max(point.cost for point in points) * (1 + ROOM)
    across = Scale(
        high=longest / 1e6, start=GUTTER, end=RIGHT, unit="M instructions" if counted else "ms"
    )
    values = [point.value for point in points]
    low, high = _span(values, axis)
    unit, divisor = axis.unit(max(values))
    up = Scale(low=low / divisor, high=high / divisor, start=BASE, end=TOP, unit=unit)

    def place(point: Point) -> tuple[float, float]:
        return across.place(point.cost / 1e6), up.place(point.value / divisor)

    body = [
        heading(title),
        _axis_said(axis, unit),
        *along_foot(across, TOP - 4, BASE),
        *along_side(up, GUTTER, RIGHT),
        f'<path d="{_steps([place(point) for point in best])}" class="front"/>',
    ]
    body += [_beaten(point, *place(point)) for point in points if point not in best]
    legend = BASE + 40
    for number, point in enumerate(best, start=1):
        body += _numbered(number, point, place(point), legend + (number - 1) * LEGEND_ROW)
    return figure(title, body, legend + len(best) * LEGEND_ROW - 10)


def _span(values: Sequence[float], axis: Axis) -> tuple[float, float]:
    """Where the scale begins and ends."""
    low, high = min(values), max(values)
    room = ROOM * (high - low or abs(high) or 1.0)
    begin, end = 0.0 if axis.from_zero else low - room, high + room
    return (begin, end) if axis.most is None else (max(begin, 0.0), min(end, axis.most))


def _axis_said(axis: Axis, unit: str) -> str:
    better = "up" if axis.more_is_better else "down"
    said = f"{axis.name}, {unit}; better: {better} and left"
    return f'<text x="{LEFT}" y="32" class="axis-text">{said}</text>'


def _steps(places: Sequence[tuple[float, float]]) -> str:
    """What can be had for a cost stays until the next point offers better."""
    (x, y), *others = places
    return f"M{x:.1f} {y:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in others)


def _said(point: Point) -> str:
    return f"<title>{escape(f'{point.label}: {point.text}')}</title>"


def _beaten(point: Point, x: float, y: float) -> str:
    return (
        f'<path d="M{x:.1f} {y:.1f}{runtime_style.shape(point.runtime)}" class="beaten" '
        f'stroke="{runtime_style.variable(point.runtime)}">{_said(point)}</path>'
    )


def _numbered(number: int, point: Point, at: tuple[float, float], row: float) -> list[str]:
    """A point of the front, and its row below."""
    return [
        *_disc(number, point, *at, said=_said(point)),
        *_disc(number, point, LEFT + 9, row - 4),
        f'<text x="{LEFT + 26}" y="{row - 5}" class="label">{escape(point.label)}</text>',
        f'<text x="{LEFT + 26}" y="{row + 9}" class="small-value">{escape(point.text)}</text>',
    ]


def _disc(number: int, point: Point, x: float, y: float, *, said: str = "") -> list[str]:
    return [
        (
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="8" '
            f'fill="{runtime_style.variable(point.runtime)}">{said}</circle>'
        ),
        (
            f'<text x="{x:.1f}" y="{y + 3.8:.1f}" class="number" text-anchor="middle">'
            f"{number}</text>"
        ),
    ]
