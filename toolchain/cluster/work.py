"""What a job makes that may be made elsewhere: an entry of the store, of files that go there.

A machine that asks and the worker that is asked have the same code, or the key that each computes
differs. So a question is a few fields in JSON, its files go by their content through the shared
cache, and so does the entry.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Self, TypeVar

from pydantic import TypeAdapter

from toolchain.core.store import Store
from toolchain.core.worker import Progress

CONVERSION = 5 << 30  # bytes that one may take: the catalogue's largest, benchmarks/README.md
GIVEN = "input"  # the step of an entry that is a job's files


class Work(ABC):
    """An entry to make; its implementations are frozen dataclasses, whose fields JSON can say.

    Attributes:
        heavy: whether it takes the memory of a conversion.
    """

    heavy = False

    @abstractmethod
    def inputs(self) -> Mapping[str, object]:
        """All that decides the entry; its key in the store is the hash of it.

        Raises:
            EdgewrightError: nothing can be made of it.
        """

    @abstractmethod
    def files(self) -> Mapping[str, Path]:
        """The files that it reads here, by the names that a worker has them under."""

    @abstractmethod
    def at(self, folder: Path) -> Self:
        """The same, with its files in a folder, under their names."""

    @abstractmethod
    def make(self, store: Store, progress: Progress) -> None:
        """Bring the entry into a store.

        Raises:
            EdgewrightError: it can't be made.
        """

    def dump(self) -> dict[str, object]:
        """Its fields, as JSON says them."""
        fields: dict[str, object] = TypeAdapter(type(self)).dump_python(self, mode="json")
        return fields

    @classmethod
    def load(cls, fields: Mapping[str, object]) -> Self:
        """What `dump` gave.

        Raises:
            ValidationError: it is of another version.
        """
        return TypeAdapter(cls).validate_python(fields)


What = TypeVar("What")


@dataclass(frozen=True, kw_only=True)
class Job(Generic[What]):
    """What the functions that an executor calls are given.

    Attributes:
        what: is asked for.
        work: the part of it that may be done elsewhere.
        progress: called with each step.
    """

    what: What
    work: Work
    progress: Callable[[str], None]


def files_below(name: str, path: Path) -> dict[str, Path]:
    """A file under a name; of a folder, all files in it, below that name."""
    if not path.is_dir():
        return {name: path}
    return {
        f"{name}/{file.relative_to(path).as_posix()}": file
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }
