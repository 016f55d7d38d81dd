"""What a shared cache, or a folder of results, asks of the place that it is in.

Files are fetched and sent by name. Names are relative, of ASCII letters, digits, `_`, `.`, `-` and
`/`; those that a place gives back may be anything.
A file appears under its name only when it is whole. Where nothing else is said, what goes wrong is
an OSError of one line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

CHUNK = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A file to fetch.

    Attributes:
        name: in the place.
        path: a file that is not there yet; those of one call are in one folder.
        limit: bytes of it that are taken at most.
    """

    name: str
    path: Path
    limit: int


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A file to send: what it is called in the place, and where it is here."""

    name: str
    path: Path


class Place(Protocol):
    """A folder, a server or a bucket."""

    @property
    def read_only(self) -> str:
        """Why nothing can be sent there; empty where that may be possible."""

    def fetch(self, wanted: Sequence[Wanted]) -> None:
        """Fetch some files.

        Raises:
            FileNotFoundError: there is no such file.
            PermissionError: the place says that it may not be read.
        """

    def send(self, files: Sequence[Sent]) -> None:
        """Send some files, in this order; one that is there is replaced."""

    def names(self, folder: str) -> list[str]:
        """What the files in a folder are called, in no order; none where there is no such folder.

        Args:
            folder: in the place; empty for the place itself.

        Raises:
            PermissionError: the place doesn't tell.
        """
