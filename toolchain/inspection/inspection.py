"""A model file looked at: what it is, what an inference takes, and which runtimes take it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from toolchain import runtimes
from toolchain.compile.importing import preparation
from toolchain.compile.importing.source_graph import Flatbuffer, SourceGraph
from toolchain.core import worker
from toolchain.core.errors import EdgewrightError
from toolchain.core.store import Store, digest_file
from toolchain.core.worker import Progress
from toolchain.inspection.requests import (
    FILE,
    FLATBUFFER,
    IMPORT,
    READ,
    ImportRequest,
    Reading,
    ReadingRequest,
)
from toolchain.models.manifest import GRAPH, TFLITE
from toolchain.models.specification import ModelSpec
from toolchain.runtimes import Runtime

TAKEN = "yes"
LATER = "known when it is converted"


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What is known of a model file.

    Attributes:
        model: the name that it would have.
        file: its name.
        reading: its signature, operators and costs.
        runtimes: by a runtime's name TAKEN, LATER, or why it can't take the network here.
    """

    model: str
    file: str
    reading: Reading
    runtimes: dict[str, str]

    def plain(self) -> dict[str, object]:
        """As JSON."""
        plain: dict[str, object] = TypeAdapter(Inspection).dump_python(self, mode="json")
        return plain


def inspect(
    spec: ModelSpec, batch: int, *, cache: Store, progress: Progress = worker.silent
) -> Inspection:
    """Look at a model file; nothing in it is run, and nothing is kept.

    Args:
        spec: the model, which is a user's file.
        batch: what an open batch becomes.
        cache: the store.
        progress: called with each step.

    Raises:
        ModelError: it can't be read.
    """
    assert spec.path is not None
    with cache.scratch() as folder:
        request = ReadingRequest(spec=spec, batch=batch, folder=folder)
        what = f"reading {spec.path.name}"
        reading = worker.call(READ, request, what=what, progress=progress, rights=request.rights())
        compiled = _compiled(reading, folder, cache, what=what, progress=progress)
    answers = {
        name: reading.sizes or _answer(one, spec.kind, reading, compiled)
        for name, one in runtimes.all_runtimes().items()
    }
    return Inspection(model=spec.name, file=spec.path.name, reading=reading, runtimes=answers)


def _compiled(
    reading: Reading, folder: Path, cache: Store, *, what: str, progress: Progress
) -> str:
    """Why our compiler does not take a network; empty where it does, or its sizes are open."""
    form, graph = folder / FLATBUFFER, folder / FILE
    if not form.is_file() and not graph.is_file():
        return reading.missing.get(GRAPH, "")
    try:
        source = SourceGraph(
            inputs=reading.fixed,
            outputs=tuple(tensor.fixed(()) for tensor in reading.outputs),
            onnx=preparation.prepared(
                graph, digest_file(graph), cache, what=what, progress=progress
            )
            if graph.is_file()
            else None,
            flatbuffer=Flatbuffer(
                file=form,
                inputs=tuple(tensor.name for tensor in reading.inputs),
                outputs=tuple(tensor.name for tensor in reading.outputs),
            )
            if form.is_file()
            else None,
            unmade=reading.missing.get(GRAPH, ""),
        )
        asked = ImportRequest(source=source)
        return worker.call(IMPORT, asked, what=what, progress=progress, rights=asked.rights())
    except EdgewrightError as error:
        return f"{error.brief}: {error.detail.partition(chr(10))[0]}"


def _answer(runtime: Runtime, kind: str, reading: Reading, compiled: str) -> str:
    """Whether a runtime takes the network, as far as it is known."""
    if runtime.makes_artifacts:
        return runtime.unmakeable(kind) or LATER
    if runtime.has_opt_levels:  # it runs what our compiler makes of the graph
        return compiled or TAKEN
    return reading.missing.get(TFLITE) or (LATER if reading.by_graph else TAKEN)
