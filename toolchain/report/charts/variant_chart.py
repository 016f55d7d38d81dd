"""The variants of a network side by side, as inline SVG: size, accuracy and latency of each.

Same page, same rules as `latency_chart`. Each of the three has a scale of its own from zero; an
emulated latency is not drawn here, where no mark could stand beside each bar.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from toolchain.models.variants import PLAIN
from toolchain.report import formatting, measurement_rows
from toolchain.report.charts import runtime_style
from toolchain.report.charts.axes import Scale, along_foot
from toolchain.report.charts.latency_chart import FOOT, LEFT, RIGHT, figure, heading
from toolchain.results import measurement

ROW = 52
GAP = 14
# Where the first row begins, and where in a row its text and its bar are.
FIRST, TEXT, BAR = 42, 27, 32

# What is told apart, whatever the number of threads: runtime, variant, optimisation level.
_Way = tuple[str, str, int | None]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One variant under one runtime.

    Attributes:
        label: runtime and variant, and how many threads where that was a choice.
        runtime: its colour.
        size: of the file that is run, in bytes.
        of_plain: the size over that of the runtime's fp32; None where that is not known.
        top1: share of right classes; None where it was not measured.
        latency_ms: the least of its numbers of threads; None where it was not measured.
    """

    label: str
    runtime: str
    size: int | None
    of_plain: float | None
    top1: float | None
    latency_ms: float | None


@dataclass(frozen=True, kw_only=True)
class _Column:
    """One of the three scales: its name, where it ends, and each row's value and text.

    Attributes:
        name: what it shows.
        unit: of its axis, which is `divisor` of what the values are in.
        end: the value at its end.
        values, texts: of each row.
    """

    name: str
    unit: str
    divisor: float
    end: float
    values: list[float | None]
    texts: list[str]


def by_model(result: measurement.Result) -> list[str]:
    """A plot for each model of which several variants were run."""
    groups: dict[str, list[measurement.Measurement]] = {}
    for m in result.measurements:
        if m.status == "ok":
            groups.setdefault(formatting.title(m), []).append(m)
    return [
        plot(f"{title}: its variants", rows(measured, emulated=result.emulated))
        for title, measured in groups.items()
        if len({m.variant for m in measured}) > 1
    ]


def rows(measured: Iterable[measurement.Measurement], *, emulated: bool) -> list[Row]:
    """The variants of one model at one batch, each at its fastest number of threads."""
    groups: dict[_Way, list[measurement.Measurement]] = {}
    for m in measured:
        groups.setdefault((m.runtime, m.variant, m.opt_level), []).append(m)
    fastest = {way: min(group, key=_latency_ms) for way, group in groups.items()}
    plain_sizes = {
        (runtime, opt_level): m.artifact.size
        for (runtime, variant, opt_level), m in fastest.items()
        if m.artifact and variant == PLAIN
    }
    return [
        _row(
            m,
            plain_size=plain_sizes.get((m.runtime, m.opt_level)),
            several=len({other.threads for other in groups[way]}) > 1,
            emulated=emulated,
        )
        for way, m in fastest.items()
    ]


def _row(
    m: measurement.Measurement, *, plain_size: int | None, several: bool, emulated: bool
) -> Row:
    size, latency = m.artifact.size if m.artifact else None, _latency_ms(m)
    naming = formatting.configuration if several else formatting.runtime
    return Row(
        label=naming(m.configuration),
        runtime=m.runtime,
        size=size,
        of_plain=size / plain_size if size and plain_size else None,
        top1=measurement_rows.accuracy_of(m.accuracy).share if m.accuracy else None,
        latency_ms=None if emulated or latency == float("inf") else latency,
    )


def _latency_ms(m: measurement.Measurement) -> float:
    timing = m.timing()
    return timing.latency_ns / 1e6 if timing else float("inf")


def plot(title: str, variants: Sequence[Row]) -> str:
    """Three columns of bars, a row a variant."""
    columns = _columns(variants)
    width = (RIGHT - LEFT - GAP * (len(columns) - 1)) / max(len(columns), 1)
    body = [heading(title)]
    for place, column in enumerate(columns):
        body += _drawn(column, LEFT + place * (width + GAP), width, variants)
    body += [
        f'<text x="{LEFT}" y="{FIRST + number * ROW + 12}">{escape(row.label)}</text>'
        for number, row in enumerate(variants)
    ]
    return figure(title, body, FIRST + ROW * len(variants) + FOOT)


def _columns(variants: Sequence[Row]) -> list[_Column]:
    sizes = [None if row.size is None else float(row.size) for row in variants]
    shares = [row.top1 for row in variants]
    latencies = [row.latency_ms for row in variants]
    unit, divisor = formatting.size_unit(_end(sizes))
    columns = [
        _Column(
            name="size",
            unit=unit,
            divisor=divisor,
            end=_end(sizes),
            values=sizes,
            texts=[_size(row) for row in variants],
        ),
        # a share's scale is that of all shares
        _Column(
            name="top-1",
            unit="%",
            divisor=0.01,
            end=1.0,
            values=shares,
            texts=[_percent(share) for share in shares],
        ),
        _Column(
            name="latency",
            unit="ms",
            divisor=1.0,
            end=_end(latencies),
            values=latencies,
            texts=[_milliseconds(t) for t in latencies],
        ),
    ]
    return [column for column in columns if any(value is not None for value in column.values)]


def _end(values: Iterable[float | None]) -> float:
    return max((value for value in values if value is not None), default=0.0) or 1.0


def _drawn(column: _Column, x: float, width: float, variants: Sequence[Row]) -> list[str]:
    high, unit = column.end / column.divisor, column.unit
    scale = Scale(high=high, start=x, end=x + width, unit=unit, most=2)
    foot = FIRST + ROW * len(variants)
    body = [
        f'<text x="{x:.1f}" y="32" class="axis-text">{column.name}, {unit}</text>',
        *along_foot(scale, FIRST, foot),
        '<g class="small-value">',
        *(
            f'<text x="{x:.1f}" y="{FIRST + number * ROW + TEXT}">{escape(text)}</text>'
            for number, text in enumerate(column.texts)
        ),
        "</g>",
    ]
    for number, value in enumerate(column.values):
        y = FIRST + number * ROW
        if value is not None:
            fill = runtime_style.variable(variants[number].runtime)
            body.append(
                f'<rect x="{x:.1f}" y="{y + BAR}" width="{value / column.end * width:.1f}" '
                f'height="9" fill="{fill}"/>'
            )
    return body


def _size(row: Row) -> str:
    if row.size is None:
        return "-"
    share = "" if row.of_plain in (None, 1.0) else f", {100 * (row.of_plain or 0):.0f} %"
    return f"{formatting.size(row.size)}{share}"


def _percent(share: float | None) -> str:
    return "-" if share is None else formatting.percent(share)


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{formatting.number(value)} ms"
