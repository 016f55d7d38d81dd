"""Accuracy and size against latency: which points are the front, and what is drawn of them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import measured
from tests.support.measured import MS
from toolchain.report import html_page, summary
from toolchain.report.charts import tradeoff_chart
from toolchain.report.charts.tradeoff_chart import ACCURACY, Point
from toolchain.results.measurement import Measurement


def one(ms: float, correct: int, variant: str, size: int, **fields: Any) -> Measurement:
    counted = {
        "total": 100, "available": 100, "correct": correct, "correct_top5": 100,
        "reference_correct": correct,
    }  # fmt: skip
    artifact = {"file": f"{variant}.tflite", "sha256": "0" * 64, "size": size}
    times = [int(ms * MS)] * 8
    return measured.measurement(
        samples_ns=times, accuracy=counted, variant=variant, artifact=artifact, **fields
    )


# slower and less accurate than fp32, and larger: beaten in both plots
BEATEN = one(6, 89, "pruned", 500_000, runtime="tvm", opt_level=3)
FOUR = (
    one(4, 90, "fp32", 400_000), one(2, 88, "int8", 100_000), one(3, 89, "float16", 200_000),
    BEATEN,
)  # fmt: skip


def point(cost: float, value: float) -> Point:
    return Point(label="", runtime="tflite", cost=cost, value=value, text="")


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12),
    st.booleans(),
)
def test_the_front_is_what_no_other_beats(pairs: list[tuple[int, int]], more: bool) -> None:
    points = [point(cost, value) for cost, value in pairs]
    found = tradeoff_chart.front(points, more_is_better=more)

    def beats(a: tuple[int, int], b: tuple[int, int]) -> bool:
        better = a[1] >= b[1] if more else a[1] <= b[1]
        return a[0] <= b[0] and better and a != b

    expected = {b for b in pairs if not any(beats(a, b) for a in pairs)}
    assert {(p.cost, p.value) for p in found} == expected
    assert [p.cost for p in found] == sorted(p.cost for p in found)
    assert len(found) == len(expected), "of equal ones one is there"


def test_both_plots_number_the_front_and_ring_the_others() -> None:
    accuracy, size = tradeoff_chart.by_model(measured.result(*FOUR))
    assert re.findall(r'class="number"[^>]*>(\d)<', accuracy) == ["1", "1", "2", "2", "3", "3"]
    labels = re.findall(r'class="label">([^<]*)<', accuracy)
    assert [label.split(",")[0] for label in labels] == [
        "TFLite int8",
        "TFLite float16",
        "TFLite fp32",
    ]
    assert accuracy.count('class="beaten"') == 1
    # the fastest is the smallest too, so that no other is at its front
    assert re.findall(r'class="label">([^<]*)<', size) == ["TFLite int8, 1 thread"]
    assert "TVM pruned-O3, 1 thread: 6.00 ms, 488 KiB" in size


def test_points_stand_where_their_values_are() -> None:
    (accuracy, _) = tradeoff_chart.by_model(measured.result(*FOUR))
    discs = re.findall(r'cx="([\d.]+)" cy="([\d.]+)" r="8"', accuracy)[::2]
    x, y = ([float(place[axis]) for place in discs] for axis in (0, 1))
    assert x == sorted(x)
    assert y == sorted(y, reverse=True), "more accurate is higher up"
    assert (x[1] - x[0]) == pytest.approx(x[2] - x[1], abs=0.2)


def test_an_axis_says_what_there_is_and_no_more_than_all() -> None:
    best = one(2, 100, "int8", 100_000)
    accuracy, size = tradeoff_chart.by_model(measured.result(*FOUR, best))
    assert "top-1, %; better: up and left" in accuracy
    assert re.findall(r'<text x="42"[^>]*>([^<]*)<', accuracy) == ["90", "95", "100"]
    assert "size, KiB; better: down and left" in size
    assert re.findall(r'<text x="42"[^>]*>([^<]*)<', size)[0] == "0"


def test_two_points_are_no_plot() -> None:
    assert tradeoff_chart.by_model(measured.result(*FOUR[:2])) == []


def test_emulated_times_are_not_drawn() -> None:
    emulated = measured.result(*FOUR, emulated=True)
    assert tradeoff_chart.by_model(emulated) == []
    assert summary.by_runtime(emulated) == []


@pytest.mark.parametrize(("share", "ticks"), [(1.0, ["96", "98", "100"]), (0.0, ["0"])])
def test_no_tick_is_beyond_all_or_nothing(share: float, ticks: list[str]) -> None:
    points = [point(cost, share) for cost in (1, 2, 3)]
    drawn = tradeoff_chart.plot("same", points, ACCURACY, counted=False)
    found = re.findall(r'<text x="42"[^>]*>([^<]*)<', drawn)
    assert set(ticks) <= set(found)
    assert all(0 <= float(tick) <= 100 for tick in found)


def test_a_network_of_one_accuracy_is_drawn() -> None:
    points = [point(cost, 0.5) for cost in (1, 2, 3)]
    assert "NaN" not in (drawn := tradeoff_chart.plot("same", points, ACCURACY, counted=False))
    assert drawn.count('class="number"') == 2


def test_the_table_by_runtime_has_the_fastest_of_each() -> None:
    rows = summary.by_runtime(measured.result(*FOUR))
    assert [(row.runtime, row.configuration) for row in rows] == [
        ("TFLite", "TFLite int8, 1 thread"), ("TVM", "TVM pruned-O3, 1 thread"),
    ]  # fmt: skip
    assert [(row.times, row.top1, row.size) for row in rows] == [
        ("1.00", "88.0 %", "97.7 KiB"), ("3.00", "89.0 %", "488 KiB"),
    ]  # fmt: skip
    assert summary.by_runtime(measured.result(*FOUR[:3])) == [], "one runtime is no comparison"


def test_the_page_has_both() -> None:
    page = html_page.render([measured.result(*FOUR)])
    assert "What accuracy and size cost" in page
    assert "By runtime" in page
    alone = html_page.render([measured.result(FOUR[0])])
    assert "By runtime" not in alone
    assert "What accuracy and size cost" not in alone
