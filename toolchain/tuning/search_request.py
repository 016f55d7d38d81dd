"""What a search is asked in its own process, and what it answers: light on both sides."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from toolchain.compile.compilation_request import TileRecord
from toolchain.compile.importing.source_graph import SourceGraph
from toolchain.core.worker import Job
from toolchain.tuning.budget import Budget


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a device's RPC server answers.

    Attributes:
        name: of the device in the inventory.
        port: on 127.0.0.1.
        key: what the server wants to hear.
        away_s: seconds to wait for a device that doesn't answer.
    """

    name: str
    port: int
    key: str = field(repr=False)
    away_s: float


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """Which network is tuned, for what and on what.

    Attributes:
        source: its graph.
        target: the devices'.
        tvm: the version that is installed here.
        store: the folder of the store that has the records.
        container: the one that links.
        folder: what the container sees, for objects and libraries.
        devices: what measures.
        budget: when the search ends.
    """

    source: SourceGraph
    target: str
    tvm: str
    store: Path
    container: str
    folder: Path
    devices: tuple[Address, ...]
    budget: Budget


@dataclass(frozen=True, kw_only=True)
class FunctionResult:
    """What a search found for one function.

    Attributes:
        name: in the network.
        workload: the hash of what it computes.
        calls: how often an inference calls it.
        tried: tiles that were measured.
        of: tiles that there are.
        tile: the best.
        ratio: the best's time over our own choice's; 1 where that is the best.
    """

    name: str
    workload: str
    calls: int
    tried: int
    of: int
    tile: TileRecord
    ratio: float


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What came of a search.

    Attributes:
        host: the device that the seconds are of.
        trials: measurements, those of earlier searches included.
        new: those of this one.
        failed: those that gave no time.
        untuned: seconds that the functions take in an inference by our own choice; None while not
            every one was measured.
        tuned: the same with the best tiles.
        curve: (trials, seconds that the functions take in an inference), as the search went on.
        functions: each.
    """

    host: str
    trials: int
    new: int
    failed: int
    untuned: float | None
    tuned: float | None
    curve: tuple[tuple[int, float], ...]
    functions: tuple[FunctionResult, ...]


SEARCH = Job("toolchain.tuning.search_job:tune", SearchRequest, SearchResult)
