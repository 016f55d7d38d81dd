"""The best of a matrix, and one runtime against the other over batches."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from tests.support import measured
from toolchain.report import formatting, summary
from toolchain.report.charts import batch_chart
from toolchain.results import measurement

MS = measured.MS


def at(batch: int, milliseconds: float, **changes: object) -> measurement.Measurement:
    """A measurement under TFLite, unless the changes say otherwise."""
    return measured.measurement(batch=batch, samples_ns=[int(milliseconds * MS)] * 10, **changes)


MATRIX = measured.result(
    at(1, 2),
    at(4, 8),
    at(4, 5, threads=2),
    at(1, 1, variant="int8"),
    at(1, 8, runtime="tvm", opt_level=0),
    at(1, 4, runtime="tvm", opt_level=3),
    at(4, 2.5, runtime="tvm", opt_level=3),
    at(1, 4, runtime="tvm", variant="int8", opt_level=3),
)


def test_the_best_of_each_runtime_is_by_inputs_a_second() -> None:
    best = [(formatting.runtime(p.measurement.configuration), p.fps) for p in summary.best(MATRIX)]
    assert best == [("TFLite int8", 1000.0), ("TVM O3", 1600.0)]


def test_the_mean_ratio_is_of_the_best_at_each_batch_and_of_the_same_variant() -> None:
    plain, int8 = summary.ratios(MATRIX)
    assert (plain.variant, int8.variant) == ("fp32", "int8")
    assert plain.by_batch == {1: 0.5, 4: 2.0}
    assert plain.mean == pytest.approx(1.0)
    assert int8.by_batch == {1: 0.25}


def test_words_are_said_only_where_there_was_a_choice() -> None:
    assert summary.best_lines(MATRIX)[0] == (
        "digits-cnn: fastest of 4 by TFLite int8, 1 thread, batch 1: 1,000 FPS"
    )
    assert summary.ratio_lines(MATRIX) == [
        "digits-cnn fp32: TVM's FPS is on average 1.00 times TensorFlow Lite's over batches 1, 4"
    ]
    assert summary.best_lines(measured.result()) == []
    assert summary.ratio_lines(measured.result()) == []


def test_an_emulated_matrix_has_no_best() -> None:
    emulated = MATRIX.model_copy(update={"emulated": True})
    assert summary.best(emulated) == []
    assert summary.ratios(emulated) == []


def test_a_matrix_is_plotted_by_batch_for_each_number_of_threads() -> None:
    plots = batch_chart.by_batch(MATRIX)
    titles = [re.findall('aria-label="([^"]*)"', plot)[0] for plot in plots]
    assert titles == [
        "digits-cnn fp32: FPS by batch, 1 thread",
        "digits-cnn fp32: FPS by batch, 2 threads",
        "digits-cnn fp32: best against best",
    ]
    paths = list(ET.fromstring(plots[0]).iter("path"))  # noqa: S314 (our own)
    dashes = [line.get("stroke-dasharray") for line in paths if line.get("class") == "line"]
    # each line with its row of the legend: TFLite, O0, O3
    assert dashes == [None, None, "1 4", "1 4", None, None]
    assert "TVM O0" in plots[0]
    assert "up to 1,600 FPS" in plots[2]


def test_one_batch_or_an_emulated_device_is_not_plotted_by_batch() -> None:
    assert batch_chart.by_batch(measured.result()) == []
    assert batch_chart.by_batch(MATRIX.model_copy(update={"emulated": True})) == []
