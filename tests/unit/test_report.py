"""Reports: the mark of emulated times, and that nothing needs a network."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from tests.support import evaluated, measured
from toolchain.core.errors import BenchError
from toolchain.report import comparison, csv_file, formatting, html_page, reports, summary
from toolchain.report.charts import runtime_style, variant_chart
from toolchain.results import measurement

REAL = measured.result(measured.measurement(), measured.tvm(), measured.failed())
EMULATED = measured.result(host="emu", emulated=True)


def terminal(*found: measurement.Result, width: int = 120) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    reports.show(list(found), console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture
def built(tmp_path: Path) -> reports.Built:
    return reports.build([EMULATED, REAL], folder=tmp_path)


class Page(HTMLParser):
    """Collects what a page would fetch, and the cells of its tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.cells: list[str] = []
        self.open: list[str] = []
        self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note addresses, and where a cell begins."""
        self.fetched += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "action")]
        if tag == "td":
            self._in_cell = True
            self.cells.append(f"{dict(attrs).get('data-label')}: ")

    def handle_endtag(self, tag: str) -> None:
        """Note where a cell ends."""
        self._in_cell = self._in_cell and tag != "td"

    def handle_data(self, data: str) -> None:
        """Take a cell's text."""
        if self._in_cell:
            self.cells[-1] += data


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_every_emulated_row_on_the_terminal_is_marked_at_any_width(width: int) -> None:
    text = terminal(EMULATED, width=width)
    rows = [line for line in text.splitlines() if re.search(r"\b(2\.00|6\.00) ", line)]
    assert len(rows) == 2
    assert all("EMULATED" in row for row in rows)
    assert all(len(line) <= width for line in text.splitlines())


def test_a_real_board_is_not_marked() -> None:
    assert "EMULATED" not in terminal(REAL)


def test_the_terminal_has_the_failure_and_the_ratio() -> None:
    text = terminal(REAL)
    assert "densenet121, TVM O3, 1 thread failed (load): crash: killed by SIGSEGV" in text
    took = "TVM O3, 1 thread takes 3.00 times (3.00 to 3.00) as long as TFLite fp32, 1 thread"
    assert took in text


def test_no_ratio_is_given_under_emulation() -> None:
    assert formatting.comparisons(EMULATED) == []
    assert "times as long" not in terminal(EMULATED)


def test_emulated_times_are_in_columns_of_their_own(built: reports.Built) -> None:
    rows = list(csv.DictReader(built.csv.read_text().splitlines()))
    times = ["latency_ms", "p90_ms", "p99_ms", "fps", "load_ms"]
    for row in rows:
        emulated = row["emulated"] == "EMULATED"
        assert emulated == (row["host"] == "emu")
        for name in times:
            assert not (emulated and row[name])
            assert emulated or not row[f"emulated_{name}"]
    assert rows[0]["emulated_latency_ms"].startswith("2.0")
    assert rows[2]["latency_ms"].startswith("2.0")


def test_the_variant_and_the_level_are_columns_of_their_own(built: reports.Built) -> None:
    rows = list(csv.DictReader(built.csv.read_text().splitlines()))
    told = [(row["runtime"], row["variant"], row["opt_level"]) for row in rows]
    assert told[:2] == [("tflite", "fp32", ""), ("tvm", "fp32", "3")]
    (first, second, *_) = json.loads(built.json.read_text())["rows"]
    assert (first["opt_level"], second["opt_level"]) == (None, 3)


def test_the_json_says_that_some_are_emulated(built: reports.Built) -> None:
    content = json.loads(built.json.read_text())
    assert content["emulated"] is True
    assert "EMULATED" in content["warning"]
    assert content["rows"][0]["accuracy_low"] < 0.96 < content["rows"][0]["accuracy_high"]


def test_every_time_of_an_emulated_device_on_the_page_is_marked(tmp_path: Path) -> None:
    shown = Page(reports.build([EMULATED], folder=tmp_path).html.read_text())
    times = [c for c in shown.cells if re.match("(Latency|p90|p99|FPS|Load):", c)]
    assert len(times) == 10
    assert all("EMULATED" in cell for cell in times)


def test_every_plot_of_an_emulated_time_is_marked(built: reports.Built) -> None:
    found = re.findall(r"<svg.*?</svg>", built.html.read_text())
    plots = [ET.fromstring(svg) for svg in found]  # noqa: S314 (our own page)
    assert len(plots) == 10
    for plot in plots:
        text = " ".join(plot.itertext())
        shows_time = " ms" in text
        hatched = plot.find("pattern") is not None
        if "EMULATED" in text:
            assert shows_time
            assert "EMULATED" in plot.attrib["aria-label"]
        else:
            assert not hatched
    marked = [plot for plot in plots if "EMULATED" in " ".join(plot.itertext())]
    assert len(marked) == 3


def test_the_page_needs_no_network(built: reports.Built) -> None:
    text = built.html.read_text()
    assert [url for url in Page(text).fetched if not url.startswith(("data:", "#"))] == []
    assert "http" not in text
    assert "@import" not in text
    assert "<script" not in text


def test_a_page_of_boards_alone_has_no_mark(tmp_path: Path) -> None:
    assert "EMULATED" not in reports.build([REAL], folder=tmp_path).html.read_text()


def test_what_a_device_or_a_runtime_says_is_text_on_the_page(tmp_path: Path) -> None:
    nasty = '<img src=x onerror="alert(1)">'
    one = measured.measurement(model=nasty, variant=nasty)
    text = reports.build([measured.result(one, host=nasty)], folder=tmp_path).html.read_text()
    assert "<img" not in text
    assert "&lt;img" in text


def test_a_wrong_answer_is_said(tmp_path: Path) -> None:
    parity = {**measured.measurement().model_dump()["parity"], "max_abs": None, "top1_agree": 499}
    found = measured.result(measured.measurement(parity=parity))
    text = terminal(found)
    assert "not finite" in text
    assert "499/500" in text
    assert "differs from the reference" in text
    assert "not finite" in reports.build([found], folder=tmp_path).html.read_text()


def test_each_output_of_what_is_no_classifier_is_on_the_page(tmp_path: Path) -> None:
    boxes = {"name": "boxes", "max_abs": 0.5, "reference_max_abs": 90, "reference_range": 100}
    parity = {
        "count": 8,
        "available": 8,
        "max_abs": 1,
        "reference_max_abs": 90,
        "outputs": [
            {**boxes, "sqnr_db": 48.5},
            {"name": "ids", "max_abs": 1, "reference_max_abs": 9, "differing": 0.25},
            {**boxes, "name": "masks", "max_abs": None},
        ],
    }
    found = measured.result(measured.measurement(parity=parity))
    text = reports.build([found], folder=tmp_path).html.read_text()
    assert "boxes: largest difference 0.500, 0.500 % of its range, 48.5 dB" in text
    assert "ids: largest difference 1.00, 25 % of the values differ" in text
    assert "masks: not finite" in text


def test_a_run_that_was_cut_short_says_so(tmp_path: Path) -> None:
    short = REAL.model_copy(update={"complete": False})
    assert "cut short" in terminal(short)
    assert "cut short" in reports.build([short], folder=tmp_path).html.read_text()


def test_a_second_report_replaces_the_first(tmp_path: Path) -> None:
    reports.build([EMULATED], folder=tmp_path)
    reports.build([REAL], folder=tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "report-accuracy.csv",
        "report.csv",
        "report.html",
        "report.json",
    ]


def test_no_results_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no results") as caught:
        reports.build([], folder=tmp_path)
    assert "invoke bench" in caught.value.resolution


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1234.5, "1,234"), (7.876, "7.88"), (404.6, "405"), (0.00244, "0.00244"),
     (7.45e-8, "7.45e-08"), (-2, "-2.00")],
)  # fmt: skip
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert formatting.number(value) == text


def test_counted_instructions_stand_where_times_do(tmp_path: Path) -> None:
    found = [measured.counted()]
    text = terminal(*found)
    assert "2.000 M" in text
    assert "6.000 M" in text
    assert "takes 3.00 times the instructions" in text
    assert "Latency" not in text
    text = reports.build(found, folder=tmp_path).html.read_text()
    assert "2.000 M" in text
    assert "takes 3.00 times the instructions" in text
    assert "<th>Latency" not in text
    rows = json.loads((tmp_path / "report.json").read_text())["rows"]
    assert [row["instructions"] for row in rows] == [2e6, 6e6]


def test_counted_instructions_stand_beside_times_of_the_same_device(tmp_path: Path) -> None:
    ones = [measured.measurement(), measured.tvm(), measured.tvm(threads=2)]
    found = [measured.result(*ones, host="emu", emulated=True), measured.counted()]
    text = terminal(*found)
    assert (text.count("Instructions"), text.count("6.000 M")) == (1, 1)
    assert "takes 3.00 times the instructions" in text
    page = Page(reports.build(found, folder=tmp_path).html.read_text())
    beside = [c.split(": ")[1] for c in page.cells if c.startswith("Instructions an inference: ")]
    assert beside == ["2.000 M", "6.000 M", "-"]
    elsewhere = terminal(found[0].model_copy(update={"host": "other"}), found[1])
    assert elsewhere.count("Instructions") == 1


def test_accuracy_on_images_is_on_the_page_and_behind_it(tmp_path: Path) -> None:
    built = reports.build([REAL], runs=[evaluated.run()], folder=tmp_path)
    shown = Page(built.html.read_text())
    assert "Top-1 (95 %): 75.0 % (63.2 to 84.0)" in shown.cells
    assert "Published top-1 / top-5: 74.9 % / 92.1 %" in shown.cells
    (row,) = csv.DictReader(built.accuracy_csv.read_text().splitlines())
    assert (row["variant"], row["top1"], row["published_top1"]) == ("int8", "0.75", "0.749")
    assert json.loads(built.json.read_text())["accuracy"][0]["agree"] == 63


def test_accuracy_bars_stand_where_the_shares_are(tmp_path: Path) -> None:
    text = reports.build([], runs=[evaluated.run()], folder=tmp_path).html.read_text()
    (svg,) = re.findall(r"<svg.*?</svg>", text)
    plot = ET.fromstring(svg)  # noqa: S314 (our own page)
    widths = [float(bar.attrib["width"]) for bar in plot.iter("rect")]
    assert widths == pytest.approx([0.75 * 396, 60 / 64 * 396], abs=0.1)
    marks = {p.attrib["class"]: p.attrib["d"] for p in plot.iter("path") if "class" in p.attrib}
    assert marks["reference"].startswith(f"M{2 + 47 / 64 * 396:.1f} ")
    assert marks["published"].startswith(f"M{2 + 0.921 * 396:.1f} ")


def test_all_that_failed_is_in_one_table(tmp_path: Path) -> None:
    short = REAL.model_copy(update={"complete": False})
    run = evaluated.run(unreadable=[f"{n}.jpg" for n in range(7)])
    built = reports.build([short], runs=[run], manifests=[evaluated.manifest()], folder=tmp_path)
    failed = json.loads(built.json.read_text())["failed"]
    assert [(failure["where"], failure["stage"]) for failure in failed] == [
        ("this machine", "conversion"),
        ("board", "load"),
        ("board", "measuring"),
        ("board", "accuracy, load"),
        ("this machine", "reading"),
    ]
    cells = Page(built.html.read_text()).cells
    assert "What: digits-cnn, batch 1, tvm int16x8" in cells
    assert "Why: TVM can't import operator Foo" in cells
    assert "Why: crash: killed by SIGSEGV" in cells
    assert "What: resnet50, TVM O3, 1 thread" in cells
    assert "Why: can't be read, left out: 0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg and 2 more" in cells


def test_a_page_of_which_nothing_failed_says_so(tmp_path: Path) -> None:
    whole = measured.result(measured.measurement())
    page = reports.build([whole], folder=tmp_path).html.read_text()
    assert "Nothing failed: all that was asked" in page
    assert "What failed" not in page


def test_two_results_side_by_side_are_on_the_page(tmp_path: Path) -> None:
    slow = measured.result(measured.measurement(samples_ns=[3 * measured.MS] * 20), host="other")
    fast = measured.result(measured.measurement())
    changes = comparison.compare(slow, fast)
    compared = html_page.Compared(first=slow, second=fast, changes=changes)
    built = reports.build([slow, fast], compared=compared, folder=tmp_path)
    cells = Page(built.html.read_text()).cells
    assert "Verdict: faster" in cells
    assert "Ratio: 0.667" in cells
    assert json.loads(built.json.read_text())["changes"][0]["verdict"] == "faster"


def test_variants_stand_side_by_side_with_their_size_over_the_plain_one() -> None:
    def artifact(size: int) -> dict[str, object]:
        return {"file": "f", "sha256": "a" * 64, "size": size}

    plain = measured.measurement(artifact=artifact(1000))
    two = measured.measurement(artifact=artifact(1000), threads=2, samples_ns=[measured.MS] * 20)
    small = measured.measurement(variant="int8", artifact=artifact(250))
    rows = variant_chart.rows([plain, two, small], emulated=False)
    assert [(row.label, row.of_plain, row.latency_ms) for row in rows] == [
        ("TFLite fp32, 2 threads", 1.0, 1.0),
        ("TFLite int8", 0.25, pytest.approx(2, rel=1e-3)),
    ]
    (plot,) = variant_chart.by_model(measured.result(plain, two, small))
    assert "250 bytes, 25 %" in plot
    (emulated,) = variant_chart.by_model(measured.result(plain, small, emulated=True))
    assert " ms" not in emulated


def test_one_variant_alone_has_nothing_to_stand_beside() -> None:
    assert variant_chart.by_model(REAL) == []


def test_a_result_of_a_runtime_that_is_unknown_here_is_shown(tmp_path: Path) -> None:
    other = measured.measurement(runtime="abacus", variant="int8", samples_ns=[measured.MS] * 20)
    found = measured.result(measured.measurement(), other, measured.tvm())
    assert "abacus int8" in terminal(found)
    text = reports.build([found], folder=tmp_path).html.read_text()
    used = set(re.findall(r"var\((--runtime-[a-z]+)\)", text))
    defined = re.findall(r"(--runtime-[a-z]+): (#[0-9a-f]{6});", text)
    assert used == {"--runtime-abacus", "--runtime-tflite", "--runtime-tvm"}
    assert {name for name, _ in defined} >= used
    # on a light page, a dark one and paper; no two of one colour
    assert len({colour for _, colour in defined}) == 2 * len({name for name, _ in defined})


def test_several_runtimes_are_each_held_against_the_best_and_the_first() -> None:
    times = {"tflite": 2, "tvm": 6, "abacus": 8}
    measurements = [
        measured.measurement(runtime=name, samples_ns=[ms * measured.MS] * 20, batch=batch)
        for name, ms in times.items()
        for batch in (1, 2)
    ]
    found = measured.result(*measurements)
    of_one = [line for line in formatting.comparisons(found) if "batch" not in line]
    assert [
        re.findall(r": (.*), 1 thread takes (.*) times .* as (.*),", line) for line in of_one
    ] == [
        [("TVM fp32", "3.00", "TFLite fp32")],
        [("abacus fp32", "4.00", "TFLite fp32")],
    ]
    ratios = summary.ratios(found)
    assert [(r.runtime, r.baseline) for r in ratios] == [("tvm", "tflite"), ("abacus", "tflite")]
    assert [r.by_batch[1] for r in ratios] == pytest.approx([1 / 3, 1 / 4])


def test_published_runtimes_leave_the_baseline_and_the_colours_of_the_others_alone() -> None:
    names = ["openvino", "abacus", "tvm", "onnxruntime", "tflite"]
    assert runtime_style.in_order(names) == ["tflite", "tvm", "onnxruntime", "openvino", "abacus"]
    first = list(runtime_style.colours(names))[:2]
    assert first == ["--runtime-tflite", "--runtime-tvm"]


@pytest.mark.parametrize("name", ["=1+2", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_text_that_a_spreadsheet_would_compute_is_text_in_a_csv(name: str) -> None:
    @dataclass
    class Row:
        host: str
        change: float

    (row,) = csv.DictReader(io.StringIO(csv_file.dump(Row, [Row(name, -1.5)]), newline=""))
    assert row == {"host": f"'{name}", "change": "-1.5"}
    (row,) = csv.DictReader(io.StringIO(csv_file.dump(Row, [Row("a\rb\x1b", 1)]), newline=""))
    assert row["host"] == "a␍b␛"


def test_a_disturbed_latency_has_a_mark_and_its_reason_below() -> None:
    conditions = {"before": measured.snapshot(0), "after": measured.snapshot(5, busy_seconds=110)}
    text = terminal(measured.result(measured.measurement(conditions=conditions), measured.tvm()))
    assert "2.00*" in text
    assert "6.00*" not in text
    assert "disturbed: others had 1.0 CPUs" in text
