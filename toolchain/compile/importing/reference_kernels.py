"""What TensorFlow Lite's reference kernels give for a model's samples, made once, here.

A library in integers is compared with that. TensorFlow Lite's default kernels, XNNPACK's, round
sums by floating point, so one of their values is a step away now and then, and a network may make
more of it: MLPerf Tiny's ResNet gave noise scores of up to 23 steps of 256 more or less.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path

from toolchain.compile.importing.source_graph import SourceGraph
from toolchain.core import fingerprint, worker
from toolchain.core.confinement import Rights
from toolchain.core.store import Store
from toolchain.core.worker import Job, Progress
from toolchain.formats.state import State
from toolchain.models.manifest import ModelManifest

GIVEN = "reference.npz"
TOOLS = ("tensorflow-cpu", "numpy")


@dataclass(frozen=True, kw_only=True)
class ReferenceRequest:
    """A network's TensorFlow Lite form, and what it is to be run on.

    Attributes:
        source: of the network; it has that form.
        samples: an npz file, as `manifest.Samples` has it.
        state: of the network.
        folder: takes GIVEN, `out:NAME` as in the samples; nothing where the form computes in
            floats, or has an operator that there is no reference kernel of.
    """

    source: SourceGraph
    samples: Path
    folder: Path
    state: State | None = None

    def rights(self) -> Rights:
        """The form, which is untrusted, the samples, and the folder that is filled."""
        return Rights(read=(*self.source.files(), self.samples), write=(self.folder,))


REFERENCE = Job(
    "toolchain.compile.importing.reference_kernels_job:run_reference", ReferenceRequest, type(None)
)


def recipe() -> dict[str, object]:
    """All but the network and its samples that decides what comes out."""
    tools = {name: importlib.metadata.version(name) for name in TOOLS}
    return {"code": fingerprint.of(REFERENCE.module), "tools": tools}


def given(
    present: ModelManifest,
    folder: Path,
    source: SourceGraph,
    cache: Store,
    *,
    what: str,
    progress: Progress = worker.silent,
) -> Path | None:
    """What reference kernels give, from the store or run now.

    Args:
        present: the model's manifest.
        folder: of the model.
        source: what is imported of it.
        cache: the store.
        what: the work in words, for the error of a crash.
        progress: called with each step.

    Returns:
        a file as `manifest.Samples` has it; None where nothing is computed in integers, or there is
        no reference kernel of an operator.

    Raises:
        ModelError: the file is damaged.
    """
    form = source.flatbuffer
    if form is None:
        return None

    def make(made: Path) -> None:
        request = ReferenceRequest(
            source=source,
            samples=folder / present.samples.file,
            state=present.state,
            folder=made,
        )
        worker.call(REFERENCE, request, what=what, progress=progress, rights=request.rights())

    name = form.file.relative_to(folder).as_posix()
    key = {
        "step": "reference kernels",
        "flatbuffer": present.files()[name],
        "orders": [form.inputs, form.outputs],
        "samples": present.samples.sha256,
        "recipe": recipe(),
    }
    entry = cache.get_or_build(key, make)
    return entry.file(GIVEN) if GIVEN in entry.files else None
