"""The page of operators in docs/reference, from what `tests.conformance.run` wrote.

`python -m tests.conformance.table VERDICTS.json ...`; the last verdict on a case counts.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.conformance.verdict import in_a_line
from toolchain.core import paths

PAGE = paths.ROOT / "docs" / "reference" / "operators.md"
RESULTS = ("right", "refused", "failed", "wrong")
HEAD = """# Operators under TVM

ONNX's own cases of inference (no training, sequences, maps, strings or optionals) through the
product's pipeline on x86-64, with inputs that exporters write as constants made constants.
*Refused* is an error that names the operator, *failed* another error, *wrong* other values: the
check that each compilation ends with refuses these. `python -m tests.conformance.run --out FILE`
takes them all through it, `python -m tests.conformance.table FILE` writes this page. Two cases of
Resize (align_corners, by scales that do not divide) are judged by ONNX Runtime, which differs from
ONNX's reference there.
"""
AGAIN = """These figures are of a whole run and of cases that were taken again after it: those that
it showed not to be right, and those that what mended them touches.
"""


def page(verdicts: Sequence[Mapping[str, object]]) -> str:
    """The page: totals by level, what was not right and why, then a row for each operator."""
    counts: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    for verdict in verdicts:
        operator, level = str(verdict["operator"]), int(str(verdict["level"]))
        counts[operator, level][str(verdict["result"])] += 1
    levels, last = _whole_levels(verdicts), max(level for _, level in counts)
    lines = [HEAD, f"| level | {' | '.join(RESULTS)} |", "|---" * (len(RESULTS) + 1) + "|"]
    for level in levels:
        total = sum((c for (_, of), c in counts.items() if of == level), Counter[str]())
        lines.append(f"| O{level} | {' | '.join(str(total[r]) for r in RESULTS)} |")
    lines += ["", *_summary(verdicts, last), "", "## By operator", ""]
    titles = " | ".join(f"O{level}: {result}" for level in levels for result in RESULTS)
    lines += [f"| operator | {titles} |", "|---" * (1 + len(levels) * len(RESULTS)) + "|"]
    for operator in sorted({operator for operator, _ in counts}):
        cells = [str(counts[operator, level][r] or "") for level in levels for r in RESULTS]
        lines.append(f"| {operator} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _whole_levels(verdicts: Sequence[Mapping[str, object]]) -> list[int]:
    """The levels at which every case was tried."""
    cases = {v["name"] for v in verdicts}
    tried = Counter(int(str(v["level"])) for v in verdicts)
    return sorted(level for level, many in tried.items() if many == len(cases))


def _summary(verdicts: Sequence[Mapping[str, object]], last: int) -> list[str]:
    """The share that is right at the last level, what is lost on the way there, and the others."""
    results = {(v["name"], v["level"]): v["result"] for v in verdicts}
    every = {v["name"] for v in verdicts}
    failed = sorted(str(name) for name in every if results[name, last] != "right")
    right = len(every) - len(failed)
    lines = [f"Right at O{last}: {right} of {len(every)} ({100 * right / len(every):.1f} %)."]
    for level in sorted({int(str(v["level"])) for v in verdicts} - {last}):
        if all((name, level) in results for name in failed):
            lost = [name for name in failed if results[name, level] == "right"]
            lines.append(f"Right at O{level} and not at O{last}: {', '.join(lost) or 'none'}.")
    others = [v for v in verdicts if v["level"] == last and v["result"] != "right"]
    if others:
        lines += ["", f"What is not right at O{last}:", ""]
        lines += [f"- {v['name']}, {v['result']}: {in_a_line(str(v['why']))}" for v in others]
    return lines


def main() -> int:
    """Write the page, of one run, or of a whole one and those that took some of it again."""
    files = [json.loads(Path(name).read_text()) for name in sys.argv[1:]]
    latest = {(v["name"], v["level"]): v for verdicts in files for v in verdicts}
    text = page(sorted(latest.values(), key=lambda v: (v["name"], v["level"])))
    if len(latest) < sum(map(len, files)):
        text = text.replace(HEAD, f"{HEAD}\n{AGAIN}", 1)
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
