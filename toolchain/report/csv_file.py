"""Rows as CSV: a column a field, so that a table of a report needs no list of its columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from toolchain.commandline.terminal import visible

# how a formula begins, in OWASP's list ("CSV Injection"); of its control characters a tab is left
FORMULAS = ("=", "+", "-", "@", "\t")


def dump(kind: type[Any], rows: Sequence[Any]) -> str:
    """Rows as CSV with a header; an unknown value is an empty cell.

    Text that a spreadsheet would take for a formula has an apostrophe before it.

    Args:
        kind: the dataclass of the rows; without any there still is a header.
        rows: what is written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [f.name for f in fields(kind)]
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(getattr(row, name)) for name in names])
    return text.getvalue()


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = visible(value)
    return f"'{text}" if text.startswith(FORMULAS) else text
