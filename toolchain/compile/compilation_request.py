"""What a compilation is asked in its own process, what it answers, and asking twice if it crashes.

Light on both sides.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from toolchain.compile.importing.source_graph import SourceGraph
from toolchain.core import worker
from toolchain.core.confinement import Rights
from toolchain.core.errors import CommandError, ModelError
from toolchain.core.worker import Job, Progress
from toolchain.formats.state import State

OBJECTS = "objects"  # the folder of object files, in the one that a compilation fills
KERNELS = "kernels.npz"  # what reference kernels gave, where the library has their arithmetic
Positive = Annotated[int, Field(ge=1)]


class TileRecord(BaseModel):
    """A tile as records, keys and requests say it; the fields of `register_blocking.Tile`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: Positive
    vectors: Positive
    width: Positive
    columns_first: bool = False


@dataclass(frozen=True, kw_only=True)
class CompilationRequest:
    """One network for one target.

    Attributes:
        source: its graph; its inputs and outputs are as the samples have them.
        samples: an npz file, as `manifest.Samples` has it.
        variant: of the network.
        reference: a file of what the variant should give, in place of the samples' own.
        exact: a file of what reference kernels give, which is compared with where it is imported in
            integers.
        batch: samples of an inference.
        target: TVM's description of the target.
        opt_level: 0 to 3.
        tuned: tiles by workload.
        check_in_parallel: whether to compile for this machine and the target side by side.
        folder: takes `objects/`, `check.json`, `tuned.json`, and KERNELS where the network is
            imported in integers.
        state: of the network.
        careful: whether to try in copies of the process what took one down.
    """

    source: SourceGraph
    samples: Path
    variant: str
    reference: Path | None
    batch: int
    target: dict[str, object]
    opt_level: int
    tuned: Mapping[str, TileRecord]
    check_in_parallel: bool
    folder: Path
    state: State | None = None
    careful: bool = False
    exact: Path | None = None

    def rights(self) -> Rights:
        """What the job that does it may reach."""
        others = (path for path in (self.reference, self.exact) if path is not None)
        read = (*self.source.files(), self.samples, *others)
        return Rights(read=read, write=(self.folder,))


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """What a compilation says besides its files.

    Attributes:
        unscheduled: functions that have a loop but no schedule of ours.
        tuned: how many functions have a tile that tuning found.
    """

    unscheduled: list[str]
    tuned: int


COMPILE = Job("toolchain.compile.compilation_job:compile_objects", CompilationRequest, Compiled)


def compile_surely(
    request: CompilationRequest,
    *,
    what: str,
    progress: Progress = worker.silent,
    run: worker.Run = worker.here,
) -> None:
    """Run the worker; once more, trying each function alone, if it takes its process down.

    Args:
        request: what it is asked, not `careful` yet.
        what: the work in words, for the error of a crash.
        progress: called with each step.
        run: runs the process.

    Raises:
        ModelError: the model can't be compiled; what crashes both times is said to.
    """

    def ask(request: CompilationRequest) -> None:
        rights = request.rights()
        worker.call(COMPILE, request, what=what, progress=progress, rights=rights, run=run)

    try:
        ask(request)
    except ModelError as error:
        if not _crashed(error):
            raise
        progress("the compiler crashed: once more, with what it crashes on left out")
        shutil.rmtree(request.folder / OBJECTS, ignore_errors=True)
        try:
            ask(replace(request, careful=True))
        except ModelError as again:
            if not _crashed(again):
                raise
            raise ModelError(
                f"TVM's compiler crashes on the model at O{request.opt_level}",
                detail=again.detail,
                resolution="try --opt-level 1, which changes the graph less, or use TensorFlow "
                "Lite for this model",
            ) from again


def _crashed(error: ModelError) -> bool:
    """Whether a worker ended by a signal, but for the one of a machine without memory."""
    cause = error.__cause__
    if not isinstance(cause, CommandError):
        return False
    # a container's processes end with 128 and the signal
    number = -cause.returncode if cause.returncode < 0 else cause.returncode - 128
    return number > 0 and number != signal.SIGKILL
