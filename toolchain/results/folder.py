"""A folder of results as files: one that can't be used hinders no other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from toolchain.core.errors import BenchError

T = TypeVar("T")


def usable(
    folder: Path, load: Callable[[Path], T], unreadable: Callable[[str], None]
) -> list[T]:
    """All JSON files of a folder that can be used, by their names.

    Args:
        folder: it need not be there.
        load: reads a file; raises BenchError where it can't be used.
        unreadable: told a line for each such file, which names it.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(load(path))
        except BenchError as error:
            unreadable(f"left out: {error.brief}")
    return found
