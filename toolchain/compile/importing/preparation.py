"""A network's source graph: made once, here, whichever TVM compiles it and for what.

The TVM from source runs in an image that has no ONNX Runtime, and an ONNX too old to infer and
inline all of this; so ONNX graphs are prepared before it is asked.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolchain.compile import operators
from toolchain.compile.importing.source_graph import Flatbuffer, SourceGraph
from toolchain.core import fingerprint, plugins, worker
from toolchain.core.confinement import Rights
from toolchain.core.errors import ModelError, UsageError
from toolchain.core.store import Store
from toolchain.core.worker import Job, Progress
from toolchain.formats.signature import Tensor
from toolchain.models import manifest
from toolchain.models.manifest import GRAPH, File, ModelManifest, missing_key

PREPARED = "prepared.onnx"
TOOLS = ("onnx", "onnxruntime", "numpy")


@dataclass(frozen=True, kw_only=True)
class PreparationRequest:
    """One graph.

    Attributes:
        onnx: the graph.
        folder: takes the prepared one.
        inputs: its inputs with their shapes, for a graph that leaves some open; of known shapes
            when empty.
        flatbuffer: the TensorFlow Lite file that it was made of, if any.
    """

    onnx: Path
    folder: Path
    inputs: tuple[Tensor, ...] = ()
    flatbuffer: Path | None = None

    def rights(self) -> Rights:
        """Both files, which are untrusted, and the folder that is filled."""
        files = [file for file in (self.onnx, self.flatbuffer) if file is not None]
        return Rights(read=tuple(files), write=(self.folder,))


PREPARE = Job(
    "toolchain.compile.importing.preparation_job:prepare_graph", PreparationRequest, type(None)
)


def recipe() -> dict[str, object]:
    """All but the graph that decides what a preparation makes of it."""
    rules = plugins.sources(operators, operators.KIND)  # looked up often, and ONNX is heavy
    tools = {name: importlib.metadata.version(name) for name in TOOLS}
    return {"code": fingerprint.of(PREPARE.module, *rules), "tools": tools}


def files(present: ModelManifest, variant: str) -> list[File]:
    """The forms of a variant that can be imported: its ONNX graph, its TensorFlow Lite form.

    Raises:
        UsageError: it has neither.
    """
    forms = (present.onnx_graphs.get(variant), present.tflite.get(variant))
    if not any(forms):
        raise UsageError(
            f"{present.model}, batch {present.batch}: variant {variant} was not made",
            resolution=f"run: invoke convert --model {present.model} --variant {variant}",
        )
    return [form for form in forms if form is not None]


def identity(present: ModelManifest, variant: str) -> dict[str, object]:
    """What of a variant's forms decides how it is imported, beside `recipe`.

    Raises:
        UsageError: it has none.
    """
    form = present.tflite.get(variant)
    return {
        "source": [file.sha256 for file in files(present, variant)],
        **({} if form is None else {"orders": [form.inputs, form.outputs]}),
    }


def source_graph(
    present: ModelManifest,
    folder: Path,
    variant: str,
    cache: Store,
    *,
    what: str,
    progress: Progress = worker.silent,
) -> SourceGraph:
    """What is imported of a converted model's variant.

    Args:
        present: the model's manifest.
        folder: of the model.
        variant: of the network.
        cache: the store, which keeps prepared graphs.
        what: the work in words, for the error of a crash.
        progress: called with each step.

    Raises:
        UsageError: the variant was not made.
        ModelError: its ONNX graph contradicts itself, and there is no other form.
    """
    files(present, variant)
    form, graph = present.tflite.get(variant), present.onnx_graphs.get(variant)
    onnx, unmade = None, present.missing.get(missing_key(GRAPH, variant), "")
    if graph is not None:
        path = folder / graph.file
        try:
            onnx = prepared(
                path,
                graph.sha256,
                cache,
                what=what,
                inputs=present.inputs,
                flatbuffer=None if form is None else (folder / form.file, form.sha256),
                progress=progress,
            )
        except ModelError as error:
            if form is None:
                raise
            unmade = "; ".join(part for part in (error.brief, error.detail) if part)
    flatbuffer = None
    if form is not None:
        inputs, outputs = (
            tuple(tensor.name for tensor in manifest.in_order(tensors, order))
            for tensors, order in ((present.inputs, form.inputs), (present.outputs, form.outputs))
        )
        flatbuffer = Flatbuffer(file=folder / form.file, inputs=inputs, outputs=outputs)
    return SourceGraph(
        inputs=tuple(present.inputs),
        outputs=tuple(present.outputs),
        onnx=onnx,
        flatbuffer=flatbuffer,
        unmade=f"no ONNX graph: {unmade}" if unmade else "",
    )


def prepared(
    graph: Path,
    sha256: str,
    cache: Store,
    *,
    what: str,
    inputs: Sequence[Tensor] = (),
    flatbuffer: tuple[Path, str] | None = None,
    progress: Progress = worker.silent,
) -> Path:
    """An ONNX graph as `operators.prepare` leaves it, from the store or made now.

    Args:
        graph: of the network.
        sha256: of that file.
        cache: the store.
        what: the work in words, for the error of a crash.
        inputs: with their shapes, where the graph may leave some open.
        flatbuffer: the TensorFlow Lite file that it was made of, if any, and that one's sha256.
        progress: called with each step.

    Raises:
        ModelError: the graph contradicts itself.
    """

    def make(folder: Path) -> None:
        request = PreparationRequest(
            onnx=graph,
            folder=folder,
            inputs=tuple(inputs),
            flatbuffer=None if flatbuffer is None else flatbuffer[0],
        )
        worker.call(PREPARE, request, what=what, progress=progress, rights=request.rights())

    key: Mapping[str, object] = {
        "step": "prepare",
        "onnx": sha256,
        "inputs": {tensor.name: tensor.shape for tensor in inputs},
        "flatbuffer": None if flatbuffer is None else flatbuffer[1],
        "recipe": recipe(),
    }
    return cache.get_or_build(key, make).file(PREPARED)
