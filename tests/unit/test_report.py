"""Reports: the mark of emulated times, and that nothing needs a network."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from tests.unit import measured
from toolchain import report, results
from toolchain.errors import BenchError
from toolchain.report import wording

REAL = measured.result(measured.measurement(), measured.tvm(), measured.failed())
EMULATED = measured.result(host="emu", emulated=True)


def terminal(*found: results.Result, width: int = 120) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    report.show(list(found), console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture
def built(tmp_path: Path) -> report.Built:
    return report.build([EMULATED, REAL], folder=tmp_path)


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
    assert "TVM O3, 1 thread takes 3.00 times as long as TFLite fp32, 1 thread" in text


def test_no_ratio_is_given_under_emulation() -> None:
    assert wording.comparisons(EMULATED) == []
    assert "times as long" not in terminal(EMULATED)


def test_emulated_times_are_in_columns_of_their_own(built: report.Built) -> None:
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


def test_the_json_says_that_some_are_emulated(built: report.Built) -> None:
    content = json.loads(built.json.read_text())
    assert content["emulated"] is True
    assert "EMULATED" in content["warning"]
    assert content["rows"][0]["accuracy_low"] < 0.96 < content["rows"][0]["accuracy_high"]


def test_every_time_of_an_emulated_device_on_the_page_is_marked(tmp_path: Path) -> None:
    page = Page(report.build([EMULATED], folder=tmp_path).html.read_text())
    times = [c for c in page.cells if re.match("(Latency|p90|p99|FPS|Load):", c)]
    assert len(times) == 10
    assert all("EMULATED" in cell for cell in times)


def test_every_plot_of_an_emulated_time_is_marked(built: report.Built) -> None:
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


def test_the_page_needs_no_network(built: report.Built) -> None:
    text = built.html.read_text()
    assert [url for url in Page(text).fetched if not url.startswith(("data:", "#"))] == []
    assert "http" not in text
    assert "@import" not in text
    assert "<script" not in text


def test_a_page_of_boards_alone_has_no_mark(tmp_path: Path) -> None:
    assert "EMULATED" not in report.build([REAL], folder=tmp_path).html.read_text()


def test_what_a_device_or_a_runtime_says_is_text_on_the_page(tmp_path: Path) -> None:
    nasty = '<img src=x onerror="alert(1)">'
    one = measured.measurement(model=nasty, variant=nasty)
    text = report.build([measured.result(one, host=nasty)], folder=tmp_path).html.read_text()
    assert "<img" not in text
    assert "&lt;img" in text


def test_a_wrong_answer_is_said(tmp_path: Path) -> None:
    parity = {**measured.measurement().model_dump()["parity"], "max_abs": None, "top1_agree": 499}
    found = measured.result(measured.measurement(parity=parity))
    text = terminal(found)
    assert "not finite" in text
    assert "499/500" in text
    assert "differs from the reference" in text
    assert "not finite" in report.build([found], folder=tmp_path).html.read_text()


def test_a_run_that_was_cut_short_says_so(tmp_path: Path) -> None:
    short = REAL.model_copy(update={"complete": False})
    assert "cut short" in terminal(short)
    assert "cut short" in report.build([short], folder=tmp_path).html.read_text()


def test_a_second_report_replaces_the_first(tmp_path: Path) -> None:
    report.build([EMULATED], folder=tmp_path)
    report.build([REAL], folder=tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "report.csv",
        "report.html",
        "report.json",
    ]


def test_no_results_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no results") as caught:
        report.build([], folder=tmp_path)
    assert "invoke bench" in caught.value.resolution


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1234.5, "1,234"), (7.876, "7.88"), (404.6, "405"), (0.00244, "0.00244"),
     (7.45e-8, "7.45e-08"), (-2, "-2.00")],
)  # fmt: skip
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert wording.number(value) == text


def test_counted_instructions_stand_where_times_do(tmp_path: Path) -> None:
    found = [measured.counted()]
    text = terminal(*found)
    assert "2.000 M" in text
    assert "6.000 M" in text
    assert "takes 3.00 times the instructions" in text
    assert "Latency" not in text
    page = report.build(found, folder=tmp_path).html.read_text()
    assert "2.000 M" in page
    assert "takes 3.00 times the instructions" in page
    assert "<th>Latency" not in page
    rows = json.loads((tmp_path / "report.json").read_text())["rows"]
    assert [row["instructions"] for row in rows] == [2e6, 6e6]
