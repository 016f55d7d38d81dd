"""The page of operators in docs/reference, from what `tests.conformance.run` wrote.

`python -m tests.conformance.table VERDICTS.json`
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from toolchain.core import paths

PAGE = paths.ROOT / "docs" / "reference" / "operators.md"
RESULTS = ("right", "refused", "failed", "wrong")
HEAD = """# Operators under TVM

ONNX's own cases of inference (no training, sequences, maps, strings or optionals) through the
product's pipeline on x86-64, with inputs that exporters write as constants made constants.
*Refused* is an error that names the operator, *failed* another error, *wrong* other values: the
check that each compilation ends with refuses these. `python -m tests.conformance.run --out FILE`
takes them all through it, `python -m tests.conformance.table FILE` writes this page.
"""


def page(verdicts: Sequence[Mapping[str, object]]) -> str:
    """The page: totals by level, what was not right and why, then a row for each operator."""
    counts: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    for verdict in verdicts:
        operator, level = str(verdict["operator"]), int(str(verdict["level"]))
        counts[operator, level][str(verdict["result"])] += 1
    levels = sorted({level for _, level in counts})
    lines = [HEAD, f"| level | {' | '.join(RESULTS)} |", "|---" * (len(RESULTS) + 1) + "|"]
    for level in levels:
        total = sum((c for (_, of), c in counts.items() if of == level), Counter[str]())
        lines.append(f"| O{level} | {' | '.join(str(total[r]) for r in RESULTS)} |")
    lines += ["", *_summary(verdicts, levels), "", "## By operator", ""]
    titles = " | ".join(f"O{level}: {result}" for level in levels for result in RESULTS)
    lines += [f"| operator | {titles} |", "|---" * (1 + len(levels) * len(RESULTS)) + "|"]
    for operator in sorted({operator for operator, _ in counts}):
        cells = [str(counts[operator, level][r] or "") for level in levels for r in RESULTS]
        lines.append(f"| {operator} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _summary(verdicts: Sequence[Mapping[str, object]], levels: Sequence[int]) -> list[str]:
    """The share that is right at the last level, what is lost on the way there, and the others."""
    right = {
        level: {v["name"] for v in verdicts if v["level"] == level and v["result"] == "right"}
        for level in levels
    }
    last, every = levels[-1], {v["name"] for v in verdicts}
    share = 100 * len(right[last]) / len(every)
    lines = [f"Right at O{last}: {len(right[last])} of {len(every)} ({share:.1f} %)."]
    for level in levels[:-1]:
        lost = sorted(map(str, right[level] - right[last]))
        lines.append(f"Right at O{level} and not at O{last}: {', '.join(lost) or 'none'}.")
    others = [v for v in verdicts if v["level"] == last and v["result"] != "right"]
    if others:
        lines += ["", f"What is not right at O{last}:", ""]
        lines += [f"- {v['name']}, {v['result']}: {_in_a_line(str(v['why']))}" for v in others]
    return lines


def _in_a_line(why: str) -> str:
    """A reason as text of a page, whatever it quotes."""
    return " ".join(why.split()).replace("<", "&lt;").replace("|", "\\|")


def main() -> int:
    """Write the page."""
    PAGE.write_text(page(json.loads(Path(sys.argv[1]).read_text())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
