"""What tuning has measured: one database for a target, a version of TVM and one of our schedules.

A database is a folder: what it is for, and a line of JSON for each trial. It stands apart from the
cache, which is what can be made again; where it stood in the cache, as earlier versions had it, it
is read. Lines are only ever added, each brought to the disk, so that whatever interrupts a search,
the next one goes on from there; a last line that was cut off is left out. Who compiles asks `tuned`
for the tiles that are worth having, and `ignored` which databases can't be used.

Devices of one target differ in speed. So a trial counts by its time over that of our own choice on
the same device, measured in the same way.
"""

from __future__ import annotations

import json
import os
import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from toolchain.compile.compilation_request import TileRecord
from toolchain.core import paths, store
from toolchain.targets import Target

# Tiles of schedules that mean something else by them are no use, nor times of code that is made
# otherwise. Raised with such a change.
SCHEDULES = 4
FOLDER, HEADER, LINES = "tuning", "database.json", "records.jsonl"
# What is measured varies by a few in a hundred: a tile must be better than that to be used.
WORTH = 0.97


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Trial(_Part):
    """One measurement of one function.

    Attributes:
        workload: the hash of what the function computes.
        function: its name in the model that was tuned.
        host: the device.
        tile: what it was scheduled with.
        own: whether that is what our schedules choose by themselves.
        seconds: each run's time; empty when it failed.
        failed: why.
    """

    workload: str
    function: str
    host: str
    tile: TileRecord
    own: bool = False
    seconds: tuple[float, ...] = ()
    failed: str = ""

    @property
    def median(self) -> float:
        """The median time in seconds; infinite for one that failed."""
        return statistics.median(self.seconds) if self.seconds else float("inf")


class Header(_Part):
    """What a database is for."""

    target: str
    llvm: dict[str, object]
    tvm: str
    schedules: int

    @classmethod
    def of(cls, target: Target, tvm: str) -> Header:
        """That of a target and a version of TVM."""
        return cls(target=target.name, llvm=target.tvm(), tvm=tvm, schedules=SCHEDULES)

    def __str__(self) -> str:
        """In words."""
        return f"{self.target}, TVM {self.tvm}, schedules {self.schedules}"


class Database:
    """The trials of one header.

    Args:
        where: the store: its locks, and what earlier versions kept there.
        header: what it is for.
    """

    def __init__(self, where: store.Store, header: Header) -> None:
        self.header = header
        self.key = store.digest_of(header.model_dump())
        self.folder = paths.records() / self.key
        self._before = where.root / FOLDER / self.key
        self._where = where

    def trials(self) -> list[Trial]:
        """All of them, as they were measured; lines that can't be read are left out."""
        return [*_read(self._before / LINES), *_read(self.folder / LINES)]

    def add(self, trial: Trial) -> None:
        """Add one, on the disk when this returns."""
        with self._where.locked(self.key), store.explain_no_space(self.folder):
            if not (self.folder / HEADER).is_file():
                text = json.dumps(self.header.model_dump(), indent=1, sort_keys=True)
                store.write_atomically(self.folder / HEADER, text.encode())
            with (self.folder / LINES).open("a+b") as lines:
                whole = lines.tell() == 0
                if not whole:
                    lines.seek(-1, os.SEEK_END)
                    whole = lines.read() == b"\n"
                # after one that was cut off, the next begins on a line of its own
                line = trial.model_dump_json(exclude_defaults=True).encode() + b"\n"
                lines.write(line if whole else b"\n" + line)
                lines.flush()
                os.fsync(lines.fileno())


def ratios(trials: list[Trial]) -> dict[str, dict[TileRecord, float]]:
    """By workload and tile: its time over our own choice's on the same device, over all of them."""
    own: dict[tuple[str, str], list[float]] = defaultdict(list)
    for trial in trials:
        if trial.own and trial.seconds:
            own[trial.workload, trial.host].append(trial.median)
    found: dict[str, dict[TileRecord, list[float]]] = defaultdict(lambda: defaultdict(list))
    for trial in trials:
        compared = own.get((trial.workload, trial.host))
        if compared and trial.seconds and not trial.own:
            ratio = trial.median / statistics.median(compared)
            found[trial.workload][trial.tile].append(ratio)
    return {
        workload: {tile: statistics.median(values) for tile, values in tiles.items()}
        for workload, tiles in found.items()
    }


def best(trials: list[Trial]) -> dict[str, tuple[TileRecord, float]]:
    """By workload: the tile that is worth having, where there is one, and its ratio."""
    least = {w: min(tiles.items(), key=lambda i: i[1]) for w, tiles in ratios(trials).items()}
    return {workload: found for workload, found in least.items() if found[1] <= WORTH}


def tuned(where: store.Store, target: Target, tvm: str) -> dict[str, TileRecord]:
    """The tiles that a compilation uses, by workload."""
    trials = Database(where, Header.of(target, tvm)).trials()
    return {workload: tile for workload, (tile, _) in sorted(best(trials).items())}


def ignored(where: store.Store, target: Target, tvm: str) -> list[Header]:
    """What else there is a database for."""
    here = Header.of(target, tvm)
    found: list[Header] = []
    folders = (where.root / FOLDER, paths.records())
    for path in sorted(p for folder in folders for p in folder.glob(f"*/{HEADER}")):
        try:
            header = Header.model_validate_json(path.read_bytes())
        except ValidationError:
            continue
        if header != here and header not in found:
            found.append(header)
    return found


def notes(where: store.Store, target: Target, tvm: str) -> list[str]:
    """What a compilation says of the databases."""
    lines = []
    if count := len(tuned(where, target, tvm)):
        lines.append(f"tuning for {Header.of(target, tvm)}: better tiles of {count} functions")
    if others := ignored(where, target, tvm):
        lines.append(
            f"tuning for another target or version, ignored: {'; '.join(map(str, others))}"
        )
    return lines


def _read(path: Path) -> Iterator[Trial]:
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            yield Trial.model_validate_json(line)
        except ValidationError:
            continue
