"""The search as a caller sees it: run in a process of its own, so that TVM is only there."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from toolchain.compile.cross_link import Standing
from toolchain.core import worker
from toolchain.core.store import Store, write_atomically
from toolchain.core.worker import Progress
from toolchain.models.manifest import ModelManifest
from toolchain.tuning.budget import Budget

BLOCKS = "▁▂▃▄▅▆▇█"


def search(
    manifest: ModelManifest,
    folder: Path,
    variant: str,
    *,
    target: str,
    tvm: str,
    store: Store,
    linker: Standing,
    devices: Sequence[Mapping[str, object]],
    budget: Budget,
    progress: Progress,
) -> dict[str, Any]:
    """Search for better tiles of a model's functions.

    Args:
        manifest: of the model.
        folder: its own.
        variant: of the network.
        target: the devices'.
        tvm: the version that is installed here.
        store: where the records are.
        linker: links for the target.
        devices: the name, port (of 127.0.0.1) and key of each.
        budget: when it ends.
        progress: called with each step.

    Returns:
        what came of it: `toolchain.tuning.search_job.summary`, and of what.

    Raises:
        ConnectionFailed: no device is left.
        ModelError: the model has nothing to tune, or can't be imported.
    """
    what = f"tuning {manifest.model} ({variant}) for {target}"
    found = worker.call(
        "toolchain.tuning.search_job:tune",
        {
            "onnx": str(folder / manifest.graph(variant).file),
            "target": target,
            "tvm": tvm,
            "store": str(store.root),
            "container": linker.container,
            "folder": str(linker.folder),
            "devices": [dict(device) for device in devices],
            "budget": dataclasses.asdict(budget),
        },
        what=what,
        progress=progress,
    )
    of = {"model": manifest.model, "batch": manifest.batch, "variant": variant, "target": target}
    return {**of, "tvm": tvm, "devices": [device["name"] for device in devices], **found}


def save(found: Mapping[str, Any], folder: Path) -> Path:
    """Write what came of a search into a folder; returns the file."""
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    path = folder / f"{found['model']}-{found['target']}-{moment}.json"
    write_atomically(path, (json.dumps(found, indent=1, sort_keys=True) + "\n").encode())
    return path


COLUMNS = ("function", "calls", "tried", "of", "tile", "time, untuned 1")


def rows(found: Mapping[str, Any]) -> list[list[str]]:
    """The functions that have a better tile, the greatest gain first, in `COLUMNS`."""
    better = [f for f in found["functions"] if f["ratio"] < 1]
    return [
        [
            f["name"], str(f["calls"]), str(f["tried"]), str(f["of"]), _tile(f["tile"]),
            f"{f['ratio']:.2f}",
        ]
        for f in sorted(better, key=lambda f: float(f["ratio"]))
    ]  # fmt: skip


def told(found: Mapping[str, Any]) -> list[str]:
    """What came of a search, in lines."""
    lines = [f"{found['trials']} trials, {found['new']} of them new, {found['failed']} failed"]
    if found["untuned"] is None:
        return [*lines, "not every function was measured yet: give it more trials"]
    untuned, tuned = found["untuned"] * 1e3, found["tuned"] * 1e3
    lines.append(
        f"what can be tuned takes {tuned:.2f} ms of an inference on {found['host']}, "
        f"untuned {untuned:.2f} ms: {tuned / untuned:.2f}"
    )
    if curve := drawn([(trials, seconds) for trials, seconds in found["curve"]]):
        lines.append(f"{untuned:.2f} ms {curve} {tuned:.2f} ms")
    return lines


def _tile(tile: Mapping[str, Any]) -> str:
    order = ", channels first" if tile["columns_first"] else ""
    return f"{tile['rows']} x {tile['vectors']} x {tile['width']}{order}"


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
