"""The page of a matrix of thousands of measurements."""

from __future__ import annotations

import io
import re
from typing import Any

from rich.console import Console

from tests.support import measured
from toolchain.report import html_page, reports
from toolchain.results import measurement


def test_a_page_of_many_measurements_has_the_fastest_and_what_is_not_right() -> None:
    """5,000 measurements once made a page of 23 MB."""

    def one(name: str, threads: int, ms: float, **fields: Any) -> measurement.Measurement:
        return measured.measurement(
            runtime=name, threads=threads, samples_ns=[int(ms * measured.MS)] * 9, **fields
        )

    metered = {
        "before": measured.snapshot(0), "after": measured.snapshot(10),
        "series": [{"seconds": 1.0, "watts": 5.0}],
    }  # fmt: skip
    slower = [one("tflite", n, 9 + n, conditions=metered) for n in range(2, html_page.MOST_SHOWN)]
    telling = [one("tflite", 1, 3), one("ncnn", 1, 2), one("tflite", 1, 8, variant="int8")]
    broken = measured.failed().model_copy(update={"threads": 77})
    result = measured.result(*slower, *telling, broken)
    page = html_page.render([result])
    assert f"Of {len(result.measurements)} measurements 3 are shown" in page
    rows = re.findall(r'<td data-label="Runtime"><span>(.*?)</span></td>', page)
    of_each = rows[: len(rows) // 2]
    assert rows == of_each * 2, "the tables of times and of parity"
    assert [row.partition(" <")[0] for row in of_each] == [
        "TFLite fp32, 1 thread", "ncnn fp32, 1 thread", "TVM O3, 77 threads",
    ]  # fmt: skip
    assert "mJ an inference" not in page, "of what is not shown"
    assert page.count("<path") < 40, "no ticks and no traces"
    assert "Each time in the order measured" not in page
    assert "are shown" not in html_page.render([measured.result(*telling)])
    console = Console(width=200, record=True, file=io.StringIO())
    reports.show([result], console)
    text = console.export_text()
    assert f"Of {len(result.measurements)} measurements 3 are shown" in text
    assert len(text.splitlines()) < 60
