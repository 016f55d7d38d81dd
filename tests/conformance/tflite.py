"""Each of TFLite's operators under TVM and under our tflite_runtime; the page in docs/reference.

`python -m tests.conformance.tflite --wheel FOLDER`: of an unpacked wheel of this machine.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from tests.support.conformance import tflite_cases
from tests.support.conformance.tflite_verdict import COLUMNS, judge
from tests.support.conformance.verdict import in_a_line
from toolchain.core import paths

PAGE = paths.ROOT / "docs" / "reference" / "tflite-operators.md"
RESULTS = ("right", "refused", "failed", "wrong")
HEAD = """# TensorFlow Lite's operators

A small file for each builtin operator that TensorFlow's converter writes, as it is (fp32) and
rounded whole (int8, float32 at its ends), under TVM on x86-64 and the `tflite_runtime` that is
built here. What TensorFlow's own TensorFlow Lite gives is right: within 1e-3 of a number and
1e-5, and for int8 within three 255ths of an output's range. *Refused* is an error that names an
operator (ONNX's, where a form goes through ONNX) and its node, *failed* another one, *wrong* other
values, which no compilation keeps. Where nothing stands, the converter makes no such file, or
TensorFlow's own interpreter can't run it. Not here are operators that it writes as
others, or for open sizes alone (`RANK`, `SHAPE`, `SQUEEZE`), that draw at random, and those of
strings, tables and variables.
Under TVM int8 is computed in integers where each operator of a file is known so, as a compilation
does; else, as fp32, by way of ONNX, with numbers rounded around each operator.
The `tflite_runtime` of 2.14 knows no LOG and SQRT of int8, as the converter of TensorFlow 2.21
writes them (version 2).
`python -m tests.conformance.tflite --wheel FOLDER` writes this page, in one run.
"""
SECONDS = 120
Verdicts = dict[str, dict[str, tuple[str, str]]]


def verdicts(names: list[str], wheel: Path) -> Verdicts:
    """What becomes of each case in each column; one that takes its process down has failed."""
    found: Verdicts = {name: {} for name in names}
    waiting = [(name, column) for name in names for column in COLUMNS][::-1]
    while waiting:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context, initializer=_quiet) as pool:
            while waiting:
                name, column = waiting.pop()
                try:
                    found[name][column] = pool.submit(judge, name, column, wheel).result(SECONDS)
                except (BrokenProcessPool, TimeoutError) as error:
                    found[name][column] = ("failed", type(error).__name__)
                    for process in multiprocessing.active_children():
                        process.kill()  # hung: no other way
                    break
                if found[name][column][0] not in ("right", ""):
                    sys.stderr.write(f"{name} {column} {': '.join(found[name][column])}\n")
    return found


def _quiet() -> None:
    """TVM's and TensorFlow's lines are of no use here; Python's errors come back as values."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)


def page(found: Verdicts) -> str:
    """The page: totals, what is not right and why, then a row for each operator."""
    made = {name: by for name, by in found.items() if any(result for result, _ in by.values())}
    lines = [HEAD, f"| | {' | '.join(RESULTS)} |", "|---" * (len(RESULTS) + 1) + "|"]
    for column in COLUMNS:
        for form in ("fp32", "int8"):
            total = Counter(
                by.get(column, ("", ""))[0] for name, by in made.items() if name.endswith(form)
            )
            lines.append(f"| {column}, {form} | {' | '.join(str(total[r]) for r in RESULTS)} |")
    lines += ["", "What is not right:", ""]
    for name, by in made.items():
        for column, (result, why) in by.items():
            if result != "right":
                lines.append(f"- {name}, {column}, {result}: {in_a_line(why)}")
    titles = [f"{column}, {form}" for form in ("fp32", "int8") for column in COLUMNS]
    lines += ["", "## By operator", "", f"| operator | {' | '.join(titles)} |"]
    lines.append("|---" * (1 + len(titles)) + "|")
    for operator in sorted({name.rsplit(".", 1)[0] for name in made}):
        cells = [
            made.get(f"{operator}.{form}", {}).get(column, ("", ""))[0]
            for form in ("fp32", "int8") for column in COLUMNS
        ]  # fmt: skip
        lines.append(f"| {operator} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Judge all, or those with a text in their name; write the page of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheel", type=Path, required=True, help="an unpacked tflite_runtime")
    parser.add_argument("--only", default="", help="a regular expression for parts of names")
    parser.add_argument("--out", type=Path, help="where the verdicts are kept, as JSON")
    options = parser.parse_args()
    names = [name for name in tflite_cases.names() if re.search(options.only, name)]
    found = verdicts(names, options.wheel)
    if options.out and options.out.exists():
        found = json.loads(options.out.read_text()) | found
    if options.out:
        options.out.write_text(json.dumps(found, indent=0))
    if len(found) == len(tflite_cases.names()):
        PAGE.write_text(page(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
