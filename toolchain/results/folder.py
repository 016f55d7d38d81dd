"""A folder of results as files: one that can't be used hinders no other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from toolchain.core.errors import BenchError

T = TypeVar("T")


class Subject(Protocol):
    """One configuration of a run, and what it came to."""

    @property
    def error(self) -> str: ...


class Run(Protocol):
    """A run over images whose file is written anew when more of it is done."""

    @property
    def host(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def dataset(self) -> str: ...
    @property
    def content(self) -> str: ...
    @property
    def subjects(self) -> Sequence[Subject]: ...


R = TypeVar("R", bound=Run)


def newest(runs: Sequence[R]) -> list[R]:
    """Runs without those of which another of the same images has all that is done."""
    kept: list[R] = []
    for run in sorted(runs, key=lambda run: len(_done(run)), reverse=True):
        of = (run.host, run.model, run.dataset, run.content)
        others = [k for k in kept if (k.host, k.model, k.dataset, k.content) == of]
        if not any(all(one in other.subjects for one in _done(run)) for other in others):
            kept.append(run)
    return kept


def _done(run: Run) -> list[Subject]:
    return [subject for subject in run.subjects if not subject.error]


def usable(
    folder: Path,
    load: Callable[[Path], T],
    unreadable: Callable[[str], None],
    more: Sequence[Path] = (),
) -> list[T]:
    """All JSON files of a folder that can be used, by their names, and then some others.

    Args:
        folder: it need not be there.
        load: reads a file; raises BenchError where it can't be used.
        unreadable: told a line for each such file, which names it.
        more: files that stand elsewhere.
    """
    found = []
    for path in [*sorted(folder.glob("*.json")), *more]:
        try:
            found.append(load(path))
        except BenchError as error:
            unreadable(f"left out: {error.brief}")
    return found
