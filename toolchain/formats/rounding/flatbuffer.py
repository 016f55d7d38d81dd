"""Reading a flatbuffer's tables: every place is checked, and nothing is trusted but the bytes.

As FlatBuffers' internals describe the format: a table begins with the distance back to its vtable,
which has the place of each field in the table, 0 where it was left out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

MOST = 1 << 20  # entries of a vector of tables, or of offsets


class DamagedError(ValueError):
    """A place lies outside of the file, or a vector is longer than one can be."""


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        content: the whole file.
        at: where the table begins.
    """

    content: bytes
    at: int

    def number(self, field: int, form: str, default: float = 0) -> Any:
        """A scalar field.

        Args:
            field: by its place in the schema.
            form: as `struct` has it, such as "i".
            default: where it was left out.
        """
        place = self._place(field)
        return _read(self.content, place, form) if place else default

    def text(self, field: int) -> str:
        """A string field; empty where it was left out."""
        place = self._place(field)
        if not place:
            return ""
        start, count = self._vector(self._follow(place), 1)
        return self.content[start : start + count].decode("utf-8", "replace")

    def array(self, field: int, kind: str) -> npt.NDArray[Any]:
        """A vector of numbers of a numpy type, as a copy; empty where it was left out."""
        place = self._place(field)
        if not place:
            return np.zeros(0, kind)
        start, count = self._vector(self._follow(place), np.dtype(kind).itemsize)
        found = np.frombuffer(self.content, np.dtype(kind).newbyteorder("<"), count, start)
        return found.astype(kind)

    def table(self, field: int) -> Table | None:
        """A table, or one of a union; None where it was left out."""
        place = self._place(field)
        return Table(self.content, self._follow(place)) if place else None

    def tables(self, field: int) -> Iterator[Table]:
        """The tables of a vector."""
        place = self._place(field)
        if not place:
            return
        start, count = self._vector(self._follow(place), 4)
        if count > MOST:
            raise DamagedError(f"a vector of {count} tables")
        for number in range(count):
            yield Table(self.content, self._follow(start + 4 * number))

    def _place(self, field: int) -> int:
        vtable = self.at - int(_read(self.content, self.at, "i"))
        size = int(_read(self.content, vtable, "H"))
        entry = 4 + 2 * field
        if entry + 2 > size:
            return 0
        offset = int(_read(self.content, vtable + entry, "H"))
        return self.at + offset if offset else 0

    def _follow(self, place: int) -> int:
        return place + int(_read(self.content, place, "I"))

    def _vector(self, place: int, size: int) -> tuple[int, int]:
        """Where a vector's entries begin, and how many of `size` bytes there are."""
        count, start = int(_read(self.content, place, "I")), place + 4
        if start + count * size > len(self.content):
            raise DamagedError(f"a vector at {place} ends behind the file")
        return start, count


def root(content: bytes) -> Table:
    """The table that a file begins with."""
    return Table(content, int(_read(content, 0, "I")))


def _read(content: bytes, place: int, form: str) -> Any:
    size = struct.calcsize(f"<{form}")
    if place < 0 or place + size > len(content):
        raise DamagedError(f"place {place} is outside of the file")
    return struct.unpack_from(f"<{form}", content, place)[0]
