"""Two results side by side: a change is one that the runs' own noise does not explain."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import measured
from toolchain.core.errors import BenchError, UsageError
from toolchain.report import comparison
from toolchain.results import measurement

MS = measured.MS


def of(*times: int, **changes: object) -> measurement.Result:
    return measured.result(measured.measurement(samples_ns=list(times), **changes))


CALM = of(*(2 * MS + n for n in range(40)))


def verdict(first: measurement.Result, second: measurement.Result) -> str:
    (change,) = comparison.compare(first, second)
    return change.verdict


def test_a_change_larger_than_either_runs_drift_counts() -> None:
    quicker = of(*(MS + n for n in range(40)))
    assert verdict(CALM, quicker) == "faster"
    assert verdict(quicker, CALM) == "slower"
    (change,) = comparison.compare(CALM, quicker)
    assert change.ratio == pytest.approx(0.5, rel=1e-3)


def test_a_change_within_a_runs_drift_does_not() -> None:
    drifting = of(*(2 * MS - 20_000 + 4_000 * n for n in range(40)))
    assert verdict(CALM, drifting) == "within noise"
    assert verdict(CALM, CALM) == "within noise"


def test_a_single_outlier_is_no_change() -> None:
    assert verdict(CALM, of(*CALM.measurements[0].samples_ns[:-1], 90 * MS)) == "within noise"


def test_a_disturbed_run_shows_no_change() -> None:
    conditions = {"before": measured.snapshot(0), "after": measured.snapshot(5, busy_seconds=110)}
    quicker = of(*(MS + n for n in range(40)), conditions=conditions)
    assert verdict(CALM, quicker) == verdict(quicker, CALM) == "disturbed"
    same = of(*CALM.measurements[0].samples_ns, conditions=conditions)
    assert verdict(CALM, same) == "within noise"


def test_few_samples_decide_nothing() -> None:
    assert verdict(CALM, of(MS, MS, MS)) == "too few samples"


def test_other_classes_and_other_bytes_are_said() -> None:
    artifact = {"file": "fp32.tflite", "sha256": "b" * 64, "size": 9}
    times = CALM.measurements[0].samples_ns
    one, other = of(*times, predictions=[1, 2, 3]), of(*times, predictions=[1, 2, 4])
    (change,) = comparison.compare(one, other)
    assert (change.classes, change.same_file) == (1, True)
    (change,) = comparison.compare(one, of(*times, artifact=artifact))
    assert (change.classes, change.same_file) == (None, False)


def test_a_job_of_one_result_alone_is_missing() -> None:
    found = comparison.compare(CALM, measured.result(measured.tvm()))
    assert [c.verdict for c in found] == ["missing", "missing"]


def test_emulated_times_are_not_compared_and_instructions_are() -> None:
    emulated = CALM.model_copy(update={"emulated": True})
    assert verdict(emulated, emulated) == "not compared"
    with pytest.raises(BenchError, match="never compared"):
        comparison.compare(CALM, emulated)
    counts = comparison.compare(measured.counted(), measured.counted())
    assert [c.verdict for c in counts] == ["within noise", "within noise"]
    with pytest.raises(BenchError, match="counted"):
        comparison.compare(emulated, measured.counted())


def test_a_result_is_found_by_file_name_or_host(tmp_path: Path) -> None:
    path = measurement.save(CALM, tmp_path)
    for name in (str(path), path.name, path.stem):
        assert comparison.find(name, tmp_path, pytest.fail, pytest.fail) == CALM
    assert comparison.find("board", tmp_path, pytest.fail, list) == CALM
    with pytest.raises(UsageError, match="no result elsewhere"):
        comparison.find("elsewhere", tmp_path, pytest.fail, list)
