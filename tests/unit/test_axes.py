"""The scales of plots: which values have a tick, where it is, and what it says."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support import measured
from toolchain.report import html_page
from toolchain.report.charts import axes, runtime_style
from toolchain.report.charts.axes import Scale


def scale(low: float, high: float, most: int = 5) -> Scale:
    return Scale(low=low, high=high, start=0, end=100, unit="ms", most=most)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 43, [0, 10, 20, 30, 40]), (0, 0.0123, [0, 0.005, 0.01]), (88.2, 96.1, [90, 92, 94, 96]),
     (0, 2, [0, 0.5, 1, 1.5, 2])],
)  # fmt: skip
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert scale(low, high).ticks() == pytest.approx(expected)


@given(st.floats(0, 1e9), st.floats(1e-6, 1e9), st.integers(2, 8))
@example(0.0, 400000001.0, 2)
@example(1.0, 400000001.0, 2)
def test_there_are_two_ticks_at_least_and_no_more_than_asked(
    low: float, span: float, most: int
) -> None:
    of = scale(low, low + max(span, low * 1e-6), most)
    ticks = of.ticks()
    # a step of which there was one alone is more than half of what there is: its next two fifths
    assert 2 <= len(ticks) <= (most + 1 if low == 0 else max(most + 1, 5))
    assert all(-1e-6 <= of.place(tick) <= 100 + 1e-6 for tick in ticks)


def test_the_last_tick_has_the_unit_and_all_words_stay_inside() -> None:
    drawn = "".join(axes.along_foot(scale(0, 40), 0, 10))
    assert re.findall(r">([^<]+)</text>", drawn) == ["0", "10", "20", "30", "40 ms"]
    assert '<text x="0.0" y="23">0</text>' in drawn
    assert '<text x="100.0" y="23" text-anchor="end">40 ms</text>' in drawn


def test_latency_memory_and_variants_have_axes_with_units() -> None:
    int8 = measured.measurement(variant="int8", samples_ns=[measured.MS] * 20)
    page = html_page.render([measured.result(measured.measurement(), int8, measured.tvm())])
    for title, unit, fewest in [
        ("digits-cnn: latency", "ms", 4), ("digits-cnn: memory", "MiB", 4),
        ("digits-cnn: its variants", "ms", 6),
    ]:  # fmt: skip
        plot = page.split(f'aria-label="{title}"')[1].split("</svg>")[0]
        ticks = re.findall(r'<text x="[\d.]+" y="[\d.]+"[^>]*>([\d.,]+(?: \w+)?)</text>', plot)
        assert any(tick.endswith(f" {unit}") for tick in ticks), title
        assert len(ticks) >= fewest, title


def test_runtimes_differ_in_more_than_their_colour() -> None:
    names = ["tflite", "tvm", "onnxruntime", "ncnn"]
    assert len({runtime_style.shape(name) for name in names}) == len(names)
    assert runtime_style.shape("abacus") in runtime_style.SHAPES
