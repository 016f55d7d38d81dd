"""Numbers that say what they are, and the table of what each release ran."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support import evaluated, measured
from toolchain.report import answers, html_page, measurement_rows, reports
from toolchain.report.tables import explanations, releases
from toolchain.results.measurement import Result

OF_TEXT = {"Model", "Runtime", "Device", "Release", "Network", "Ran", "Images", "Classes matched",
           "Fastest by"}  # fmt: skip


def page() -> str:
    int8 = measured.measurement(variant="int8", samples_ns=[measured.MS] * 20)
    result = measured.result(measured.measurement(), int8, measured.tvm())
    return html_page.render([result], runs=[evaluated.run()], held=releases.held([result]))


def heads(text: str) -> list[str]:
    return re.findall(r"<th>(.*?)</th>", text, re.DOTALL)


def test_every_column_of_numbers_says_what_it_is_at_its_head() -> None:
    bare = {head for head in heads(page()) if 'class="tip"' not in head}
    assert bare - OF_TEXT == set()


def test_a_head_explains_itself_to_a_keyboard_and_a_finger_too() -> None:
    found = [head for head in heads(page()) if 'class="tip"' in head]
    assert len(found) > 15
    assert all('tabindex="0"' in head for head in found), "what has the focus shows it"
    style = page().split("<style>")[1].split("</style>")[0]
    assert ".why:hover .tip, .why:focus .tip { display: block; }" in style


def test_paper_has_the_same_text_at_its_end() -> None:
    text = page()
    at_heads = set(re.findall(r'role="tooltip">(.*?)</span>', text))
    end = text.split("<h2>What the numbers say</h2>")[1]
    assert at_heads
    assert set(re.findall(r"<dd>(.*?)</dd>", end)) == at_heads
    assert ".why .tip { display: none; }" in text.split("@media print")[1]


def test_an_explanation_that_no_column_has_is_none() -> None:
    legend = explanations.Legend()
    assert legend.of("Model") == ""
    assert "median" in legend.of("Latency")
    assert list(legend.used) == ["Latency"]


def test_a_row_says_of_how_many_times_and_what_noise_there_was() -> None:
    assert 'title="20 of 20 samples, mean 2.00 ms, std 5.77e-06 ms, medians of 8 blocks ' in page()
    few = html_page.render([measured.result(measured.measurement(samples_ns=[measured.MS] * 3))])
    assert 'title="3 of 3 samples, mean 1.00 ms, std 0 ms"' in few
    emulated = html_page.render([measured.result(host="emu", emulated=True)])
    assert len(re.findall('title="EMULATED: 20 of 20 samples', emulated)) == 2


def test_what_int8_loses_is_against_the_network_as_it_was_trained() -> None:
    own = {"total": 500, "available": 500, "correct": 470, "correct_top5": 499,
           "reference_correct": 470}  # fmt: skip
    int8 = measured.measurement(variant="int8", accuracy=own)
    result = measured.result(measured.measurement(), int8, measured.tvm(accuracy=None))
    lost = re.findall(r'data-label="Points lost">(.*?)<', html_page.render([result]))
    assert lost[-3:] == ["0.00", "2.00", "-"], "480 of 500 as it was trained"


def test_a_share_of_fewer_inputs_is_no_source_of_the_others() -> None:
    few = {"total": 20, "available": 500, "correct": 20, "correct_top5": 20,
           "reference_correct": 20}  # fmt: skip
    int8 = measured.measurement(variant="int8")
    result = measured.result(measured.measurement(), int8, measured.tvm(accuracy=few))
    lost = re.findall(r'data-label="Points lost">(.*?)<', html_page.render([result]))
    assert set(lost) == {"0.00"}
    ours = {row.runtime: row.source_top1 for row in measurement_rows.flatten([result])}
    assert ours == {"tflite": 0.96, "tvm": 1.0}
    (answer,) = answers.answers(result, limits=answers.Limits(within=0.5))
    assert "nothing keeps" not in answer.sentence


def of_release(digit: str, days: int, *, host: str = "board") -> Result:
    result = measured.result(
        measured.measurement(), measured.measurement(batch=4), measured.tvm(),
        measured.tvm(variant="int8"), measured.failed(), host=host,
    )  # fmt: skip
    at = measured.STARTED + timedelta(days=days)
    return result.model_copy(update={"release": digit * 64, "started": at})


def test_a_release_has_its_networks_and_the_forms_that_ran_at_the_same_batches() -> None:
    rows = [one.row for one in releases.held([of_release("b", 0)])]
    newest = f"{'b' * 16}, the newest"
    assert rows == [
        ("board", newest, "2026-11-21", "densenet121", "1", "TVM O3 (failed)"),
        ("board", newest, "2026-11-21", "digits-cnn", "1", "TVM O3, int8-O3"),
        ("board", newest, "2026-11-21", "digits-cnn", "1, 4", "TFLite fp32"),
    ]


def test_the_newest_release_of_each_device_is_first_with_its_days() -> None:
    results = [
        of_release("a", 5),
        of_release("b", 0),
        of_release("a", 2),
        of_release("c", 1, host="z"),
    ]
    found = releases.held(results)
    order = list(dict.fromkeys((one.host, one.release[0], one.newest) for one in found))
    assert order == [("board", "a", True), ("board", "b", False), ("z", "c", True)]
    assert found[0].measured == "2026-11-23 to 2026-11-26"


def test_what_each_release_ran_is_on_the_page_and_in_the_json(tmp_path: Path) -> None:
    results = [of_release("b", 0), of_release("a", 2)]
    built = reports.build(results[1:], held=releases.held(results), folder=tmp_path)
    section = built.html.read_text().split("<h2>What each release ran</h2>")[1]
    assert '<td data-label="Release">bbbbbbbbbbbbbbbb</td>' in section
    assert '<td data-label="Ran">TFLite fp32</td>' in section
    plain = json.loads(built.json.read_text())["releases"]
    assert {one["release"] for one in plain} == {"a" * 64, "b" * 64}
    assert plain[1]["forms"][0] == {
        "runtime": "tvm", "variant": "fp32", "opt_level": 3, "ran": True,
    }  # fmt: skip
    assert plain[1]["batches"] == [1]


def test_batches_of_a_network_are_folded_into_its_card() -> None:
    ones = [
        make(batch=batch) for batch in (1, 2, 4) for make in (measured.measurement, measured.tvm)
    ]
    text = html_page.render([measured.result(*ones)])
    assert text.count('<div class="card">') == 1
    assert "<summary>2 more batches</summary>" in text
    two = html_page.render([measured.result(*ones[:4])])
    assert "<summary>1 more batch</summary>" in two


def test_a_page_shows_so_many_releases_the_newest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases, "MOST_SHOWN", 4)
    results = [of_release("a", 5), of_release("b", 0), of_release("c", 1, host="z")]
    found = releases.held(results)
    assert len(found) == 9
    assert [(one.host, one.newest) for one in releases.shown(found)] == [
        *[("board", True)] * 3,
        ("z", True),
    ]
    text = html_page.render(results, held=found)
    assert "4 of 9 rows; report.json has all." in text


def test_plots_and_the_device_stand_before_the_tables() -> None:
    text = page()
    of_board = text[text.index("<h2>board") :]
    headings = re.findall(r"<h3>([^<]*)</h3>", of_board)
    assert headings.index("Latency") < headings.index("The device")
    assert headings.index("The device") < headings.index("All configurations")
