"""Results over time: what counts as a regression, and the files that show it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from invoke import Context

from tests.support import measured
from tests.support.measured import MS
from toolchain.report.over_time import files, series
from toolchain.results import measurement
from toolchain.results.measurement import Measurement, Result
from toolchain.tasks import history as task


def at(day: int, *measurements: Measurement, host: str = "board") -> Result:
    moved = measured.STARTED + timedelta(days=day)
    result = measured.result(*measurements, host=host)
    return result.model_copy(update={"started": moved, "finished": moved})


def took(ms: float, **changes: object) -> Measurement:
    times = [int(ms * MS * (1 + 0.01 * (n % 3 - 1))) for n in range(32)]
    return measured.measurement(samples_ns=times, **changes)


def days(*of: float) -> list[Result]:
    return [at(day, took(ms)) for day, ms in enumerate(of)]


def verdicts(results: Sequence[Result]) -> list[str | None]:
    (one,) = series.histories(results)
    return [run.change.verdict if run.change else None for run in one.runs]


def test_each_run_is_held_against_the_one_before() -> None:
    assert verdicts(days(2, 2, 4, 4, 1)) == [
        None,
        "within noise",
        "slower",
        "within noise",
        "faster",
    ]


def test_runs_are_in_the_order_of_time_whatever_order_they_come_in() -> None:
    assert verdicts(list(reversed(days(2, 2, 4)))) == [None, "within noise", "slower"]


def test_a_disturbed_run_is_nothing_to_hold_another_against() -> None:
    swapped = measured.snapshot(9, swapped_pages=500)
    conditions = {"before": measured.snapshot(0), "after": swapped}
    disturbed = took(8, conditions=conditions)
    results = [at(0, took(2)), at(1, disturbed), at(2, took(2))]
    assert verdicts(results) == [None, "disturbed", "within noise"]


@pytest.mark.parametrize(("percent", "count"), [(0, 1), (40, 1), (60, 0)])
def test_a_regression_is_slower_by_more_than_asked(percent: float, count: int) -> None:
    found = series.regressions(series.histories(days(2, 3)), percent)
    assert len(found) == count
    assert all("50.0 % more: 2.00 to 3.00 ms" in one.why for one in found)


def test_only_the_newest_run_counts() -> None:
    assert series.regressions(series.histories(days(2, 4, 4)), 5) == []


def right(correct: int) -> Measurement:
    """A run that has so many of a hundred right."""
    return took(2, accuracy={
        "total": 100, "available": 100, "correct": correct, "correct_top5": 100,
        "reference_correct": 90,
    })  # fmt: skip


def test_lost_accuracy_is_a_regression() -> None:
    histories = series.histories([at(0, right(90)), at(1, right(83))])
    (found,) = series.regressions(histories, 5)
    assert found.why == "7.00 points of top-1 less"
    assert series.regressions(histories, 8) == []


def test_accuracy_that_the_newest_run_does_not_have_is_no_loss_of_its() -> None:
    bare, lost = took(2, accuracy=None), [at(0, right(90)), at(1, right(83))]
    assert series.regressions(series.histories([*lost, at(2, bare)]), 5) == []
    (found,) = series.regressions(series.histories([lost[0], at(1, bare), at(2, right(83))]), 5)
    assert found.why == "7.00 points of top-1 less"
    assert series.rows([found.history])[0][-1] == "90.0 % to 83.0 %"


def test_a_file_that_has_grown_is_a_regression() -> None:
    def of(size: int) -> Measurement:
        return took(2, artifact={"file": "m", "sha256": "0" * 64, "size": size})

    histories = series.histories([at(0, of(1000)), at(1, of(1100))])
    (found,) = series.regressions(histories, 5)
    assert found.why.startswith("its file has grown by 10.0 %: 1000 bytes to 1.07 KiB")
    assert series.regressions(histories, 11) == []


def test_emulated_times_have_no_history() -> None:
    assert series.histories([measured.result(took(2), emulated=True)]) == []


def test_the_files_name_what_got_worse(tmp_path: Path) -> None:
    results = [*days(2, 3), at(0, took(1), host="<other>")]
    found = series.histories(results)
    worse = series.regressions(found, 5)
    files.page(found, worse, tmp_path / "history.html")
    page = (tmp_path / "history.html").read_text()
    assert "What got worse" in page
    assert "<other>" not in page
    assert "&lt;other&gt;" in page
    files.junit(found, worse, tmp_path / "junit.xml")
    written = ET.parse(tmp_path / "junit.xml").getroot()  # noqa: S314 - our own file
    suites = {suite.get("name"): suite for suite in written}
    assert suites["board"].get("failures") == "1"
    assert suites["<other>"].get("failures") == "0"
    assert suites["board"].find("testcase/failure") is not None
    first = files.markdown(found, worse).splitlines()[2]
    assert first.startswith("| board |")
    assert "50.0 % more" in first


def test_the_task_ends_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEWRIGHT_DIST", str(tmp_path))
    summary = tmp_path / "summary.md"
    monkeypatch.setenv(task.SUMMARY, str(summary))
    for result in days(2, 3):
        measurement.save(result, tmp_path / "results")
    task.history.body(Context())
    with pytest.raises(SystemExit) as ended:
        task.history.body(Context(), fail_on_regression="5%", junit=str(tmp_path / "j.xml"))
    assert ended.value.code == 1
    task.history.body(Context(), fail_on_regression="60")
    assert "worse: digits-cnn, TFLite fp32, 1 thread on board" in capsys.readouterr().err
    assert summary.read_text().count("| board |") == 3
    assert (tmp_path / "j.xml").is_file()


def test_one_name_for_two_devices_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEWRIGHT_DIST", str(tmp_path))
    first, second = days(2, 3)
    other = second.device.model_copy(update={"cpu": "another"})
    for result in (first, second.model_copy(update={"device": other})):
        measurement.save(result, tmp_path / "results")
    task.history.body(Context())
    assert "board is the name of 2 devices: " in " ".join(capsys.readouterr().err.split())


def test_names_end_no_line_and_begin_no_markup_in_a_cis_files(tmp_path: Path) -> None:
    name = "a\x1b[2J\x00\ufffe|b\n## <img src=x> [x](http://x) @all `c` \\"
    results = [
        result.model_copy(update={"host": name})
        for result in (at(0, took(2, model=name)), at(1, took(3, model=name)))
    ]
    found = series.histories(results)
    worse = series.regressions(found, 5)
    files.junit(found, worse, tmp_path / "junit.xml")
    (suite,) = ET.parse(tmp_path / "junit.xml").getroot()  # noqa: S314 - our own file
    assert (suite.get("name") or "").startswith(
        "a\N{SYMBOL FOR ESCAPE}[2J\N{SYMBOL FOR NULL}\ufffd|b"
    )
    written = files.markdown(found, worse)
    assert len(written.splitlines()) == 3
    row = written.splitlines()[2]
    assert row.isprintable()
    assert "<img" not in row
    assert not re.search(r"(?<!\\)[\[\]@`]", row)
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) == len(series.COLUMNS) + 2


@pytest.mark.parametrize("where", ["junit", "summary"])
def test_a_file_that_can_not_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    monkeypatch.setenv("EDGEWRIGHT_DIST", str(tmp_path))
    monkeypatch.delenv(task.SUMMARY, raising=False)
    for result in days(2, 3):
        measurement.save(result, tmp_path / "results")
    (tmp_path / "file").write_text("")
    path = str(tmp_path / "file" / "out")
    if where == "summary":
        monkeypatch.setenv(task.SUMMARY, path)
    with pytest.raises(SystemExit) as ended:
        task.history.body(Context(), junit=path if where == "junit" else "")
    assert ended.value.code == 2
    assert "can't be written" in capsys.readouterr().err
