"""What a measurement is, as a file and as a judgement."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.support import measured
from toolchain.accuracy import counts
from toolchain.accuracy.counts import Counts
from toolchain.core.errors import BenchError
from toolchain.results import conditions, measurement
from toolchain.results.disturbances import disturbances

# what the last version before schema 2 wrote
EARLIER = Path(measured.__file__).with_name("earlier")


def test_a_saved_result_is_read_back_whole(tmp_path: Path) -> None:
    saved = measured.result(measured.measurement(), measured.failed())
    path = measurement.save(saved, tmp_path / "results")
    assert path.name == "20261121T040506Z-board.json"
    assert measurement.load(path) == saved
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_second_result_of_the_same_second_does_not_replace_the_first(tmp_path: Path) -> None:
    first = measurement.save(measured.result(), tmp_path)
    second = measurement.save(measured.result(), tmp_path)
    assert first != second
    assert len(measurement.load_all(tmp_path, pytest.fail)) == 2


def test_results_saved_at_once_are_all_kept(tmp_path: Path) -> None:
    result = measured.result()
    with ThreadPoolExecutor(8) as pool:
        saved = list(pool.map(lambda _: measurement.save(result, tmp_path), range(160)))
    assert len(set(saved)) == 160
    assert sorted(tmp_path.iterdir()) == sorted(saved)
    assert all(measurement.load(path) == result for path in saved)


@pytest.mark.parametrize("content", ["{", "[" * 100_000, '{"schema": 3}', "\udcff"])
def test_a_file_that_can_not_be_read_is_named_and_hinders_no_other(
    tmp_path: Path, content: str
) -> None:
    measurement.save(measured.result(), tmp_path)
    (tmp_path / "bad.json").write_text(content, errors="surrogateescape")
    told: list[str] = []
    assert measurement.load_all(tmp_path, told.append) == [measured.result()]
    assert counts.load_all(tmp_path, told.append) == []
    assert sum("bad.json" in line for line in told) == 2
    assert len(told) == 3  # a result is no counts either


def test_the_latest_of_each_host_is_chosen() -> None:
    old, other = measured.result(), measured.result(host="other")
    new = old.model_copy(update={"started": old.started + timedelta(hours=1)})
    assert measurement.latest([new, other, old]) == [other, new]


def test_a_network_that_was_measured_before_another_is_not_forgotten() -> None:
    first = measured.result(measured.measurement(model="a"), measured.measurement(model="b"))
    second = measured.result(
        measured.measurement(model="b"), measured.measurement(model="b", threads=2)
    )
    second = second.model_copy(update={"started": first.started + timedelta(hours=1)})
    old, new = measurement.latest([second, first])
    assert [m.model for m in old.measurements] == ["a"]
    assert new == second


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"schema": 3}',
        '{"schema": 1, "host": 3}',
        '{"schema": 1, "measurements": [1]}',
    ],
)
def test_a_file_that_is_no_result_is_one_clear_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(BenchError, match=r"x\.json") as caught:
        measurement.load(path)
    assert caught.value.resolution


def test_a_result_of_schema_1_is_read_as_if_it_were_written_today(tmp_path: Path) -> None:
    old = measurement.load(EARLIER / "result-1.json")
    assert [(m.runtime, m.variant, m.opt_level, m.threads) for m in old.measurements] == [
        ("tflite", "fp32", None, 1),
        ("tflite", "int8", None, 1),
        ("tvm", "fp32", 3, 1),
        ("tvm", "fp32", 0, 2),
        ("tvm", "int8", 3, 1),
        ("tvm", "fp32", 3, 1),
    ]
    times = [2 * measured.MS + n for n in range(5)]
    assert old.measurements[0] == measured.measurement(samples_ns=times, conditions=earlier())
    assert old.measurements[-1] == measured.failed()
    assert measurement.load(measurement.save(old, tmp_path)) == old


def test_counts_of_before_the_level_was_a_field_go_on(tmp_path: Path) -> None:
    run = counts.load(EARLIER / "accuracy-1.json")
    assert run is not None
    told = [(s.runtime, s.variant, s.opt_level) for s in run.subjects]
    assert told == [("tflite", "int8", None), ("tvm", "fp32", 3), ("tvm", "int8", 3)]
    last = run.subjects[-1]
    assert run.subject(last.configuration, last.sha256) is last
    run.save(tmp_path / "run.json")
    assert counts.load(tmp_path / "run.json") == run


@pytest.mark.parametrize("runtime", ["", "TVM", "a b", "x" * 33, '"><script>', "tvm\n"])
def test_a_runtime_is_a_plain_name(runtime: str) -> None:
    with pytest.raises(ValidationError, match="runtime"):
        measured.measurement(runtime=runtime)


def test_a_key_that_is_unknown_is_refused() -> None:
    content = json.loads(measured.result().model_dump_json(by_alias=True))
    content["measurements"][0]["speed"] = 1
    with pytest.raises(ValidationError, match="speed"):
        measurement.Result.model_validate(content)


def test_the_file_has_every_sample_and_no_statistics(tmp_path: Path) -> None:
    text = measurement.save(measured.result(), tmp_path).read_text()
    assert json.loads(text)["measurements"][0]["samples_ns"] == measured.measurement().samples_ns
    assert "latency" not in text


def test_the_schema_names_what_a_file_has(tmp_path: Path) -> None:
    schema = measurement.schema()
    content = json.loads(measurement.save(measured.result(), tmp_path).read_text())
    assert set(content) == set(schema["properties"])
    assert set(schema["required"]) <= set(content)


def test_an_emulated_latency_is_never_compared_with_a_real_one() -> None:
    real, emulated = measured.result(), measured.result(host="emu", emulated=True)
    one, other = real.measurements[0], emulated.measurements[0]
    for pair in [((real, one), (emulated, other)), ((emulated, other), (real, one))]:
        with pytest.raises(BenchError, match="never compared") as caught:
            measurement.latency_ratio(*pair)
        assert "emu" in caught.value.detail


def test_the_ratio_of_two_runtimes() -> None:
    result = measured.result()
    tflite, tvm = result.measurements
    ratio = measurement.latency_ratio((result, tvm), (result, tflite))
    assert ratio.value == pytest.approx(3, rel=1e-3)


def test_different_models_have_no_ratio() -> None:
    result = measured.result()
    other = measured.measurement(model="densenet121")
    with pytest.raises(BenchError, match="different models"):
        measurement.latency_ratio((result, result.measurements[0]), (result, other))


def test_a_job_without_times_has_no_ratio() -> None:
    result = measured.result()
    empty = measured.measurement(samples_ns=[])
    with pytest.raises(BenchError, match="missing"):
        measurement.latency_ratio((result, result.measurements[0]), (result, empty))


def test_a_calm_device_disturbs_nothing() -> None:
    assert disturbances(measured.measurement()) == []


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ({"swapped_pages": 7}, "swapped 7 pages"),
        ({"throttle_events": 1}, "throttled"),
        ({"firmware_throttled": 4}, "throttled"),
        ({"cpu_khz": [1_200_000]}, "clock fell from 1800 to 1200 MHz"),
        ({"temperature_c": 85.0}, "hot: 50 to 85 °C"),
        ({"governor": "powersave"}, "governor changed from performance to powersave"),
        ({"busy_seconds": 109.0}, "others had 0.8 CPUs"),
        ({"waited_seconds": 1.5}, "waited for a CPU for 30% of the time"),
        ({"cpu_seconds": 2.0, "busy_seconds": 102.0}, "had a CPU for 40% of the time"),
    ],
)
def test_what_disturbs_is_said(after: dict[str, object], said: str) -> None:
    conditions = {"before": measured.snapshot(0), "after": measured.snapshot(5, **after)}
    assert disturbances(measured.measurement(conditions=conditions)) == [said]


@pytest.mark.parametrize("threads", [2, 4])
def test_any_number_of_threads_that_had_to_wait_is_said(threads: int) -> None:
    waited = measured.snapshot(5, waited_seconds=threads * 1.0, cpu_seconds=threads * 4.0)
    conditions = {"before": measured.snapshot(0), "after": waited}
    disturbed = measured.measurement(conditions=conditions, threads=threads)
    assert disturbances(disturbed) == ["waited for a CPU for 20% of the time"]


def test_a_clock_that_is_held_down_all_along_is_said() -> None:
    held = {"cpu_khz": [600_000], "cpu_max_khz": [1_800_000], "governor": "powersave"}
    conditions = {"before": measured.snapshot(0, **held), "after": measured.snapshot(5, **held)}
    (said,) = disturbances(measured.measurement(conditions=conditions))
    assert said == "governor powersave held the clock at 600 of 1800 MHz"


def test_what_an_earlier_runner_does_not_say_disturbs_nothing() -> None:
    assert disturbances(measured.measurement(conditions=earlier())) == []


def earlier() -> dict[str, conditions.Snapshot]:
    """What a runner said before it counted what others do."""
    unknown = {"busy_seconds": None, "waited_seconds": None, "governor": ""}
    return {
        "before": measured.snapshot(0, **unknown),
        "after": measured.snapshot(5, **unknown),
    }


def test_counting_hides_no_times() -> None:
    timed, counted = measured.result(host="emu", emulated=True), measured.counted()
    assert measurement.latest([timed, counted, counted]) == [timed, counted]


@pytest.mark.parametrize(("max_abs", "holds"), [(1.4e-6, True), (0.3, False), (None, False)])
def test_another_top_class_is_no_difference_where_two_are_tied(
    max_abs: float | None, holds: bool
) -> None:
    parity = measurement.Parity(
        count=8, available=8, max_abs=max_abs, reference_max_abs=0.9, top1_agree=5
    )
    assert parity.holds is holds


def test_a_sigmoid_near_nothing_is_not_judged_finer_than_it_is_computed() -> None:
    def output(max_abs: float) -> measurement.OutputParity:
        return measurement.OutputParity(name="y", max_abs=max_abs, reference_max_abs=9e-8)

    assert output(5.8e-8).holds
    assert not output(5e-7).holds


HUGE, ODD = 10**400, 1 << 63
MADE_UP: dict[str, tuple[tuple[str | int, ...], object]] = {
    "a time no float holds": (("measurements", 0, "samples_ns"), [HUGE] * 20),
    "a time of centuries": (("measurements", 0, "samples_ns"), [ODD] * 20),
    "a count of 64 bits": (("measurements", 0, "peak_rss_bytes"), ODD),
    "a batch": (("measurements", 0, "batch"), HUGE),
    "threads": (("measurements", 0, "threads"), HUGE),
    "a clock": (("measurements", 0, "conditions", "after", "cpu_khz"), [HUGE]),
    "cores": (("device", "cores"), HUGE),
    "more right than there are": (("measurements", 0, "accuracy", "correct"), 501),
    "none, and some right": (("measurements", 0, "accuracy", "total"), 1),
    "no zone": (("started",), "2026-11-21T04:05:06"),
    "before calendars": (("started",), "0001-01-01T00:00:00+14:00"),
    "after them": (("finished",), "9999-12-31T23:59:59-12:00"),
    "the same inferences twice": (
        ("measurements", 0, "instructions"), {"inferences": [5, 5], "totals": [1, 2]},
    ),
    "inferences that cost nothing": (
        ("measurements", 0, "instructions"), {"inferences": [1, 11], "totals": [7, 7]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MADE_UP)
def test_figures_that_no_report_can_be_made_of_are_refused(tmp_path: Path, case: str) -> None:
    (*way, last), value = MADE_UP[case]
    content: Any = json.loads(measured.result().model_dump_json(by_alias=True))
    at = content
    for key in way:
        at = at[key]
    at[last] = value
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(BenchError, match=r"x\.json"):
        measurement.load(tmp_path / "x.json")


def test_counts_of_more_than_there_are_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    content = (EARLIER / "accuracy-1.json").read_text()
    assert '"top1": ' in content
    path.write_text(re.sub(r'"top1": \d+', '"top1": 1000000', content))
    with pytest.raises(BenchError, match="can't be used"):
        counts.load(path)
    with pytest.raises(ValidationError):
        Counts(total=0, top1=0, top5=0, reference_top1=0, agree=0)


def test_a_shard_whose_classes_were_not_compared_counts_for_nothing() -> None:
    parity = measured.measurement().parity
    assert parity is not None
    for agree in (None, 501):
        made_up = parity.model_copy(update={"top1_agree": agree})
        assert counts.counts_of(measured.measurement(parity=made_up)) is None
