"""The search as a caller sees it: run in a process of its own, so that TVM is only there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter

from toolchain.compile.compilation_request import TileRecord
from toolchain.compile.cross_link import ContainerLinker
from toolchain.compile.importing import preparation
from toolchain.core import worker
from toolchain.core.new_file import write_new
from toolchain.core.store import Store
from toolchain.core.worker import Progress
from toolchain.models.manifest import ModelManifest
from toolchain.tuning.budget import Budget
from toolchain.tuning.search_request import SEARCH, Address, SearchRequest, SearchResult

BLOCKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What came of a search, and of what; a file of results/tuning has it as JSON.

    Attributes:
        model: its name.
        batch: that its graph is fixed at.
        variant: of the network.
        target: the devices'.
        tvm: the version that tuned it.
        devices: their names.
        found: what came of it.
    """

    model: str
    batch: int
    variant: str
    target: str
    tvm: str
    devices: tuple[str, ...]
    found: SearchResult

    def plain(self) -> dict[str, object]:
        """As JSON: one object with all of it."""
        of: dict[str, object] = TypeAdapter(Tuned).dump_python(self, mode="json")
        found = of.pop("found")
        assert isinstance(found, dict)
        return of | found


def search(
    manifest: ModelManifest,
    folder: Path,
    variant: str,
    *,
    target: str,
    tvm: str,
    store: Store,
    linker: ContainerLinker,
    devices: Sequence[Address],
    budget: Budget,
    progress: Progress,
) -> Tuned:
    """Search for better tiles of a model's functions.

    Args:
        manifest: of the model.
        folder: its own.
        variant: of the network.
        target: the devices'.
        tvm: the version that is installed here.
        store: where the records are.
        linker: links for the target.
        devices: where each answers.
        budget: when it ends.
        progress: called with each step.

    Raises:
        ConnectionFailed: no device is left.
        ModelError: the model has nothing to tune, or can't be imported.
    """
    what = f"tuning {manifest.model} ({variant}) for {target}"
    request = SearchRequest(
        source=preparation.source_graph(
            manifest, folder, variant, store, what=what, progress=progress
        ),
        target=target,
        tvm=tvm,
        store=store.root,
        container=linker.container,
        folder=linker.folder,
        devices=tuple(devices),
        budget=budget,
    )
    return Tuned(
        model=manifest.model,
        batch=manifest.batch,
        variant=variant,
        target=target,
        tvm=tvm,
        devices=tuple(device.name for device in devices),
        found=worker.call(SEARCH, request, what=what, progress=progress),
    )


def save(tuned: Tuned, folder: Path) -> Path:
    """Write what came of a search into a folder; returns the file."""
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    content = json.dumps(tuned.plain(), indent=1, sort_keys=True) + "\n"
    return write_new(folder, f"{tuned.model}-{tuned.target}-{moment}", ".json", content.encode())


COLUMNS = ("function", "calls", "tried", "of", "tile", "time, untuned 1")


def rows(found: SearchResult) -> list[list[str]]:
    """The functions that have a better tile, the greatest gain first, in `COLUMNS`."""
    better = [f for f in found.functions if f.ratio < 1]
    return [
        [f.name, str(f.calls), str(f.tried), str(f.of), _tile(f.tile), f"{f.ratio:.2f}"]
        for f in sorted(better, key=lambda f: f.ratio)
    ]


def told(found: SearchResult) -> list[str]:
    """What came of a search, in lines."""
    lines = [f"{found.trials} trials, {found.new} of them new, {found.failed} failed"]
    if found.untuned is None or found.tuned is None:
        return [*lines, "not every function was measured yet: give it more trials"]
    untuned, tuned = found.untuned * 1e3, found.tuned * 1e3
    lines.append(
        f"what can be tuned takes {tuned:.2f} ms of an inference on {found.host}, "
        f"untuned {untuned:.2f} ms: {tuned / untuned:.2f}"
    )
    if curve := drawn(found.curve):
        lines.append(f"{untuned:.2f} ms {curve} {tuned:.2f} ms")
    return lines


def _tile(tile: TileRecord) -> str:
    order = ", channels first" if tile.columns_first else ""
    return f"{tile.rows} x {tile.vectors} x {tile.width}{order}"


def drawn(curve: Sequence[tuple[int, float]], width: int = 60) -> str:
    """A curve of (trials, seconds) as a line of text, from its first point to its last."""
    if len(curve) < 2:
        return ""
    (first, _), (last, _) = curve[0], curve[-1]
    values = [seconds for _, seconds in curve]
    low, high = min(values), max(values)
    columns = []
    for column in range(width):
        until = first + (last - first) * column / (width - 1)
        seconds = [s for trials, s in curve if trials <= until][-1]
        height = (seconds - low) / (high - low) if high > low else 0.0
        columns.append(BLOCKS[round(height * (len(BLOCKS) - 1))])
    return "".join(columns)
