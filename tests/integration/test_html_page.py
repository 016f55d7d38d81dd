"""The report's page in a real browser: what a phone and a printer make of it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.support import evaluated, measured
from toolchain.core import process
from toolchain.report import comparison, reports
from toolchain.report.html_page import Compared

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium: invoke setup --tests installs it"
)
PHONE = 390
# says how wide the page wants to be in a frame of that width, and where it ends
MEASURE = """<!doctype html><iframe id="page" src="report.html" width="{width}" height="900"
style="border:0"></iframe><script>
document.getElementById("page").onload = event => {{
  const root = event.target.contentDocument.documentElement;
  const named = [...root.querySelectorAll("h2")].map(heading => heading.textContent.trim());
  document.title = `${{root.scrollWidth}} wide; ${{named.join("; ")}}`;
}};</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    board = measured.result(measured.measurement(), measured.tvm(), measured.failed())
    variants = [
        measured.measurement(variant=variant, batch=batch)
        for variant in ("fp32", "int8")
        for batch in (1, 2)
    ]
    other = measured.result(*variants, measured.tvm(), host="other")
    emulated = measured.result(host="emu", emulated=True)
    changes = comparison.compare(board, other)
    return reports.build(
        [emulated, board, other],
        runs=[evaluated.run()],
        manifests=[evaluated.manifest()],
        compared=Compared(first=board, second=other, changes=changes),
        folder=tmp_path_factory.mktemp("page"),
    ).html


def browse(folder: Path, *options: str) -> str:
    assert CHROMIUM is not None
    quiet = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--no-sandbox"]
    return process.run(
        [CHROMIUM, "--headless", *quiet, "--disable-component-update", "--disable-sync"]
        + [f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr", *options]
    )


def test_a_phone_shows_it_without_scrolling_sideways(page: Path) -> None:
    frame = page.with_name("frame.html")
    frame.write_text(MEASURE.format(width=PHONE))
    said = browse(
        page.parent,
        "--allow-file-access-from-files",
        "--virtual-time-budget=5000",
        "--dump-dom",
        frame.as_uri(),
    )
    found = re.search(r"<title>(\d+) wide; (.*?)</title>", said)
    assert found is not None, said
    assert int(found[1]) <= PHONE
    headings = found[2].split("; ")
    at = f"{measured.STARTED:%Y-%m-%d %H:%M}"
    of_hosts = [f"{name} {at}" for name in ("emu EMULATED", "board", "other")]
    numbers = "What the numbers say"
    assert headings[1:] == ["What failed", "Accuracy on images", *of_hosts, numbers]
    assert "CONSOLE" not in said


def test_the_browser_has_nothing_to_complain_about(page: Path) -> None:
    picture = page.with_name("page.png")
    said = browse(page.parent, f"--screenshot={picture}", "--window-size=1280,4000", page.as_uri())
    assert "CONSOLE" not in said
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_it_prints(page: Path) -> None:
    paper = page.with_name("page.pdf")
    browse(page.parent, "--no-pdf-header-footer", f"--print-to-pdf={paper}", page.as_uri())
    pages = re.search(rb"/Type\s*/Pages\s+/Count (\d+)", paper.read_bytes())
    assert pages is not None
    # A4 with the default margins: the whole of it, and no page for each figure
    assert 3 <= int(pages[1]) <= 12
