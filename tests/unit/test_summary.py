"""The best of a matrix, and one runtime against the other over batches."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from tests.support import measured
from toolchain.report import batch_chart, summary
from toolchain.results import measurement

MS = measured.MS


def at(
    runtime: str, variant: str, batch: int, milliseconds: float, threads: int = 1
) -> measurement.Measurement:
    return measured.measurement(
        runtime=runtime,
        variant=variant,
        batch=batch,
        threads=threads,
        samples_ns=[int(milliseconds * MS)] * 10,
    )


MATRIX = measured.result(
    at("tflite", "fp32", 1, 2),
    at("tflite", "fp32", 4, 8),
    at("tflite", "fp32", 4, 5, threads=2),
    at("tflite", "int8", 1, 1),
    at("tvm", "O0", 1, 8),
    at("tvm", "O3", 1, 4),
    at("tvm", "O3", 4, 2.5),
    at("tvm", "int8-O3", 1, 4),
)


def test_the_best_of_each_runtime_is_by_inputs_a_second() -> None:
    found = [(p.measurement.runtime, p.measurement.variant, p.fps) for p in summary.best(MATRIX)]
    assert found == [("tflite", "int8", 1000.0), ("tvm", "O3", 1600.0)]


def test_the_mean_ratio_is_of_the_best_at_each_batch_and_of_the_same_form() -> None:
    plain, int8 = summary.ratios(MATRIX)
    assert (plain.form, int8.form) == ("fp32", "int8")
    assert plain.by_batch == {1: 0.5, 4: 2.0}
    assert plain.mean == pytest.approx(1.0)
    assert int8.by_batch == {1: 0.25}


def test_words_are_said_only_where_there_was_a_choice() -> None:
    assert summary.best_lines(MATRIX)[0] == (
        "digits-cnn: fastest of 4 by TFLite int8, 1 thread, batch 1: 1,000 FPS"
    )
    assert len(summary.ratio_lines(MATRIX)) == 1
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
    ET.fromstring(plots[0])  # noqa: S314 (our own)
    assert "TVM O0" in plots[0]
    assert "up to 1,600 FPS" in plots[2]


def test_one_batch_or_an_emulated_device_is_not_plotted_by_batch() -> None:
    assert batch_chart.by_batch(measured.result()) == []
    assert batch_chart.by_batch(MATRIX.model_copy(update={"emulated": True})) == []
