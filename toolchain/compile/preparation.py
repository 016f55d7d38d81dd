"""A network's graph as it is imported: made once, here, whichever TVM compiles it and for what.

The TVM from source runs in an image that has no ONNX Runtime, and an ONNX too old to infer and
inline all of this; so graphs are prepared before it is asked.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolchain.compile import operators
from toolchain.core import fingerprint, plugins, worker
from toolchain.core.confinement import Rights
from toolchain.core.store import Store
from toolchain.core.worker import Job, Progress
from toolchain.formats.signature import Tensor

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
    """

    onnx: Path
    folder: Path
    inputs: tuple[Tensor, ...] = ()

    def rights(self) -> Rights:
        """The graph, which is untrusted, and the folder that is filled."""
        return Rights(read=(self.onnx,), write=(self.folder,))


PREPARE = Job("toolchain.compile.preparation_job:prepare_graph", PreparationRequest, type(None))


def recipe() -> dict[str, object]:
    """All but the graph that decides what a preparation makes of it."""
    rules = plugins.sources(operators, operators.KIND)  # looked up often, and ONNX is heavy
    tools = {name: importlib.metadata.version(name) for name in TOOLS}
    return {"code": fingerprint.of(PREPARE.module, *rules), "tools": tools}


def prepared(
    graph: Path,
    sha256: str,
    cache: Store,
    *,
    what: str,
    inputs: Sequence[Tensor] = (),
    progress: Progress = worker.silent,
) -> Path:
    """The graph as `operators.prepare` leaves it, from the store or made now.

    Args:
        graph: of the network.
        sha256: of that file.
        cache: the store.
        what: the work in words, for the error of a crash.
        inputs: with their shapes, where the graph may leave some open.
        progress: called with each step.

    Raises:
        ModelError: the graph contradicts itself.
    """

    def make(folder: Path) -> None:
        request = PreparationRequest(onnx=graph, folder=folder, inputs=tuple(inputs))
        worker.call(PREPARE, request, what=what, progress=progress, rights=request.rights())

    key: Mapping[str, object] = {
        "step": "prepare",
        "onnx": sha256,
        "inputs": {tensor.name: tensor.shape for tensor in inputs},
        "recipe": recipe(),
    }
    return cache.get_or_build(key, make).file(PREPARED)
