"""The forms of a network side by side, as inline SVG: size, accuracy and latency of each.

Same page, same rules as `charts`. Each of the three has a scale of its own from zero; an emulated
latency is not drawn here, where no mark could stand beside each bar.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from toolchain.models.variants import PLAIN, form_of
from toolchain.report import formatting, measurement_rows
from toolchain.report.latency_chart import LEFT, RIGHT, figure
from toolchain.results import measurement

ROW = 52
GAP = 14


@dataclass(frozen=True, kw_only=True)
class Form:
    """One form under one runtime.

    Attributes:
        label: runtime and variant, and how many threads where that was a choice.
        runtime: its colour.
        size: of the file that is run, in bytes.
        of_plain: the size over that of the runtime's plain form; None where that is not known.
        top1: share of right classes; None where it was not measured.
        latency_ms: the least of its numbers of threads; None where it was not measured.
    """

    label: str
    runtime: str
    size: int | None
    of_plain: float | None
    top1: float | None
    latency_ms: float | None


def by_model(result: measurement.Result) -> list[str]:
    """A plot for each model of which a runtime ran several forms."""
    groups: dict[str, list[measurement.Measurement]] = {}
    for m in result.measurements:
        if m.status == "ok":
            groups.setdefault(formatting.title(m), []).append(m)
    plots = []
    for title, measured in groups.items():
        found = of(measured, emulated=result.emulated)
        if len({form_of(m.runtime, m.variant) for m in measured}) > 1:
            plots.append(plot(f"{title}: its forms", found))
    return plots


def of(measured: Iterable[measurement.Measurement], *, emulated: bool) -> list[Form]:
    """The forms of one model at one batch, each at its fastest number of threads."""
    best: dict[tuple[measurement.Runtime, str], tuple[float, measurement.Measurement]] = {}
    threads: dict[tuple[measurement.Runtime, str], set[int]] = {}
    for m in measured:
        key, timing = (m.runtime, m.variant), m.timing()
        threads.setdefault(key, set()).add(m.threads)
        latency = timing.latency_ns / 1e6 if timing else float("inf")
        if key not in best or latency < best[key][0]:
            best[key] = (latency, m)
    plain = {
        (m.runtime, _level(m)): m.artifact.size
        for _, m in best.values()
        if m.artifact and form_of(m.runtime, m.variant) == PLAIN
    }
    made = []
    for key, (latency, m) in best.items():
        size = m.artifact.size if m.artifact else None
        whole = plain.get((m.runtime, _level(m)))
        several = len(threads[key]) > 1
        made.append(
            Form(
                label=formatting.configuration(m) if several else formatting.runtime(m),
                runtime=m.runtime,
                size=size,
                of_plain=size / whole if size and whole else None,
                top1=measurement_rows.accuracy_of(m.accuracy).share if m.accuracy else None,
                latency_ms=None if emulated or latency == float("inf") else latency,
            )
        )
    return made


def _level(m: measurement.Measurement) -> str:
    return m.variant.rpartition("-")[2] if m.runtime == "tvm" else ""


def plot(title: str, found: Sequence[Form]) -> str:
    """Three columns of bars, a row a form."""
    columns: list[tuple[str, list[float | None], list[str]]] = [
        ("size", [_float(f.size) for f in found], [_size(f) for f in found]),
        ("top-1", [f.top1 for f in found], [_percent(f.top1) for f in found]),
        ("latency", [f.latency_ms for f in found], [_latency(f.latency_ms) for f in found]),
    ]
    columns = [column for column in columns if any(value is not None for value in column[1])]
    width = (RIGHT - LEFT - GAP * (len(columns) - 1)) / max(len(columns), 1)
    body = [f'<text x="{LEFT}" y="14" class="title">{escape(title)}</text>']
    for place, (name, values, texts) in enumerate(columns):
        x = LEFT + place * (width + GAP)
        body.append(f'<text x="{x:.1f}" y="32" class="axis-text">{name}</text>')
        # a share's scale is that of all shares
        top = 1.0 if name == "top-1" else max(v for v in values if v is not None) or 1.0
        for number, (value, text) in enumerate(zip(values, texts, strict=True)):
            y = 42 + number * ROW
            body.append(f'<text x="{x:.1f}" y="{y + 27}" class="small-value">{escape(text)}</text>')
            if value is not None:
                body.append(
                    f'<rect x="{x:.1f}" y="{y + 32}" width="{value / top * width:.1f}" height="9" '
                    f'rx="2" fill="var(--{found[number].runtime})"/>'
                )
    body += [
        f'<text x="{LEFT}" y="{42 + number * ROW + 12}" class="label">{escape(one.label)}</text>'
        for number, one in enumerate(found)
    ]
    return figure(title, body, 42 + ROW * len(found) + 4)


def _float(value: int | None) -> float | None:
    return None if value is None else float(value)


def _size(one: Form) -> str:
    if one.size is None:
        return "-"
    share = "" if one.of_plain in (None, 1.0) else f", {100 * (one.of_plain or 0):.0f} %"
    return f"{formatting.number(one.size / 1e3)} kB{share}"


def _percent(share: float | None) -> str:
    return "-" if share is None else formatting.percent(share)


def _latency(milliseconds: float | None) -> str:
    return "-" if milliseconds is None else f"{formatting.number(milliseconds)} ms"
