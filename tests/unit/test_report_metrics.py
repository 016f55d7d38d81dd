"""The report of metrics, and of what networks were given when they were compared."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support import evaluated, measured
from toolchain.accuracy import metric_values
from toolchain.accuracy.metric_values import Judged, MetricRun
from toolchain.report import reports

SUBJECT = {"variant": "fp32", "opt_level": None, "threads": 1, "sha256": "a" * 64}


def a_run(host: str = "board") -> MetricRun:
    """A segmenter that two runtimes ran, one of them without success."""
    done = Judged(runtime="tflite", values={"mIoU": 0.7964}, here={"mIoU": 0.8}, **SUBJECT)
    failed = Judged(runtime="tvm", error="load: killed by SIGSEGV", **SUBJECT)
    return MetricRun(
        host=host, model="digits-segmenter", dataset="canvases", metric="mean-iou", images=200,
        emulated=False, release="r", content="c", subjects=[done, failed],
    )  # fmt: skip


def test_a_metric_stands_on_the_page_with_its_value_here(tmp_path: Path) -> None:
    built = reports.build([], judged=[a_run()], folder=tmp_path)
    page = built.html.read_text()
    assert "digits-segmenter on board: canvases, 200 images" in page
    assert '<td data-label="mIoU">0.7964</td>' in page
    assert '<td data-label="mIoU here">0.8000</td>' in page
    (told,) = json.loads(built.json.read_text())["metrics"]
    assert told["subjects"][0]["values"] == {"mIoU": 0.7964}


def test_runs_are_read_back_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    for host in ("second", "first"):
        a_run(host).save(tmp_path / f"{host}.json")
    (tmp_path / "damaged.json").write_text('{"schema": 1, "host": ')
    told: list[str] = []
    found = metric_values.load_all(tmp_path, told.append)
    assert found == [a_run("first"), a_run("second")]
    assert len(told) == 1
    assert "damaged.json" in told[0]


def test_the_page_says_what_a_network_was_given(tmp_path: Path) -> None:
    made = evaluated.manifest()
    origins = {"ids": "ids below 100", "mask": "ones"}
    made = made.model_copy(update={"samples": made.samples.model_copy(update={"origins": origins})})
    shown = measured.result(measured.measurement(model=made.model))
    page = reports.build([shown], manifests=[made], folder=tmp_path).html.read_text()
    assert f"Inputs of {made.model}: ids: ids below 100; mask: ones." in page
