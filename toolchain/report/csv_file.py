"""Rows as CSV: a column a field, so that a table of a report needs no list of its columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import fields
from typing import Any


def dump(kind: type[Any], rows: Sequence[Any]) -> str:
    """Rows as CSV with a header; an unknown value is an empty cell.

    Args:
        kind: the dataclass of the rows; without any there still is a header.
        rows: what is written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [f.name for f in fields(kind)]
    writer.writerow(names)
    for row in rows:
        writer.writerow([getattr(row, name) for name in names])
    return text.getvalue()
