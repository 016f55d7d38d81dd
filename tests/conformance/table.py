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
    """The page: totals by level, then a row for each operator."""
    counts: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    for verdict in verdicts:
        operator, level = str(verdict["operator"]), int(str(verdict["level"]))
        counts[operator, level][str(verdict["result"])] += 1
    levels = sorted({level for _, level in counts})
    lines = [HEAD, f"| level | {' | '.join(RESULTS)} |", "|---" * (len(RESULTS) + 1) + "|"]
    for level in levels:
        total = sum((c for (_, of), c in counts.items() if of == level), Counter[str]())
        lines.append(f"| O{level} | {' | '.join(str(total[r]) for r in RESULTS)} |")
    titles = " | ".join(f"O{level}: {result}" for level in levels for result in RESULTS)
    lines += ["", f"| operator | {titles} |", "|---" * (1 + len(levels) * len(RESULTS)) + "|"]
    for operator in sorted({operator for operator, _ in counts}):
        cells = [str(counts[operator, level][r] or "") for level in levels for r in RESULTS]
        lines.append(f"| {operator} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the page."""
    PAGE.write_text(page(json.loads(Path(sys.argv[1]).read_text())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
