"""The work of one search, in the worker: import and lower as a compilation does, search, sum up."""

from __future__ import annotations

import collections
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tvm
from tvm import relax

from toolchain import targets
from toolchain.compile import pipeline
from toolchain.compile.compilation import TILED
from toolchain.compile.compilation_request import TileRecord
from toolchain.compile.cross_link import ContainerLinker
from toolchain.compile.importing import graph_import
from toolchain.compile.relax import batch_splitting
from toolchain.compile.tir import target_code
from toolchain.core.errors import ConnectionFailed, ModelError
from toolchain.core.store import Store
from toolchain.core.worker import Progress
from toolchain.tuning import metaschedule
from toolchain.tuning.budget import Budget
from toolchain.tuning.devices import RemoteDevice
from toolchain.tuning.functions import functions
from toolchain.tuning.records import Database, Header
from toolchain.tuning.search import Tuning
from toolchain.tuning.search_request import FunctionResult, SearchRequest, SearchResult

# Given objects and the library to make of them.
Link = Callable[[list[Path], Path], None]


def tune(request: SearchRequest, progress: Progress) -> SearchResult:
    """Search for better tiles of a model's functions; the worker's entry.

    Raises:
        ConnectionFailed: no device is left; what was measured by then is kept.
        ModelError: the model has nothing to tune.
    """
    chosen = targets.target(request.target)
    linker = ContainerLinker(container=request.container, folder=request.folder)

    def link(objects: list[Path], output: Path) -> None:
        linker.link(chosen, [item.name for item in objects], output.name)

    target = tvm.target.Target(chosen.tagged())
    network = graph_import.imported(request.source, target, TILED, progress)
    lowered = pipeline.lower(network.module, target, TILED)
    database = Database(Store(request.store), Header.of(chosen, request.tvm))
    tuning = prepared(
        lowered,
        target,
        database=database,
        link=link,
        folder=linker.folder,
        devices=[
            RemoteDevice(
                name=device.name, port=device.port, key=device.key, say=progress, away=device.away_s
            )
            for device in request.devices
        ],
        budget=request.budget,
        progress=progress,
    )
    return search(tuning)


def prepared(
    lowered: tvm.IRModule,
    target: tvm.target.Target,
    *,
    database: Database,
    link: Link,
    folder: Path,
    devices: list[RemoteDevice],
    budget: Budget,
    progress: Progress,
) -> Tuning:
    """A search over a lowered module's functions that knows what the database has of them.

    Raises:
        ModelError: there is nothing to tune.
    """
    calls = call_counts(lowered)
    found = functions(lowered, target_code.registers(target), lambda name: calls[name])
    if not found:
        raise ModelError(
            "the model has nothing to tune",
            detail="none of its functions has a schedule with tiles",
            resolution="compile it as it is",
        )
    by_workload = {one.workload: one for one in found}
    for trial in database.trials():
        if trial.workload in by_workload:
            by_workload[trial.workload].take(trial)
    number = 0

    def build(module: tvm.IRModule, output: Path) -> None:
        nonlocal number
        objects: list[Path] = []

        def keep(_output: str, files: list[str], **_options: Any) -> None:
            nonlocal number
            for file in files:
                number += 1
                objects.append(folder / f"{number}.o")
                shutil.copyfile(file, objects[-1])

        library = pipeline.build_functions(module, target)
        library.export_library(str(folder / "unused.so"), fcompile=keep)
        link(objects, output)
        for item in objects:
            item.unlink()

    return Tuning(
        functions=found, devices=devices, target=target, build=build, add=database.add,
        budget=budget, scratch=folder, say=progress,
    )  # fmt: skip


def search(tuning: Tuning) -> SearchResult:
    """Search, and say what came of it.

    Raises:
        ConnectionFailed: no device is left.
    """
    before = tuning.trials()
    tuning.mark()
    metaschedule.run(tuning)
    if tuning.alive():
        tuning.confirm()
    if not tuning.alive():
        raise ConnectionFailed(
            "no device is left to measure on",
            detail=f"{tuning.trials() - before} trials of this run are kept",
            resolution="see whether the devices answer (invoke probe), then run the same command "
            "again: it goes on from here",
        )
    return summary(tuning, tuning.trials() - before)


def summary(tuning: Tuning, new: int) -> SearchResult:
    """What came of a search that made so many new trials."""
    untuned, tuned = (tuning.inference(tuned=one) for one in (False, True))
    return SearchResult(
        host=tuning.reference(),
        trials=tuning.trials(),
        new=new,
        failed=sum(
            not trial.seconds for f in tuning.functions for ts in f.trials.values() for trial in ts
        ),
        untuned=untuned if math.isfinite(untuned) else None,
        tuned=tuned if math.isfinite(tuned) else None,
        curve=tuple(tuning.curve),
        functions=tuple(
            FunctionResult(
                name=f.name,
                workload=f.workload,
                calls=f.calls,
                tried=len({tile for tile, _ in f.trials}),
                of=len(f.tiles),
                tile=TileRecord(**vars(f.best()[0])),
                ratio=f.best()[1],
            )
            for f in tuning.functions
        ),
    )


def call_counts(lowered: tvm.IRModule) -> collections.Counter[str]:
    """How often an inference calls each function."""
    counts: collections.Counter[str] = collections.Counter()
    samples = batch_splitting.samples_per_inference(lowered)

    def visit(node: Any) -> None:
        if isinstance(node, relax.Call) and isinstance(node.args[0], relax.GlobalVar):
            counts[node.args[0].name_hint] += samples

    relax.analysis.post_order_visit(lowered["main"], visit)
    return counts
