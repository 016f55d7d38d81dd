"""What a compilation is asked in its own process, and what it answers: light on both sides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from toolchain.core.confinement import Rights
from toolchain.core.worker import Job
from toolchain.formats.signature import Tensor
from toolchain.formats.state import State

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
        onnx: its graph.
        samples: an npz file, as `manifest.Samples` has it.
        variant: of the network.
        reference: a file of what the variant should give, in place of the samples' own.
        batch: samples of an inference.
        inputs: of the graph, in its order, as the samples have them.
        outputs: of the graph, in its order, as the samples have them.
        target: TVM's description of the target.
        opt_level: 0 to 3.
        tuned: tiles by workload.
        check_in_parallel: whether to compile for this machine and the target side by side.
        folder: takes `objects/`, `check.json` and `tuned.json`.
        state: of the network.
    """

    onnx: Path
    samples: Path
    variant: str
    reference: Path | None
    batch: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    target: dict[str, object]
    opt_level: int
    tuned: Mapping[str, TileRecord]
    check_in_parallel: bool
    folder: Path
    state: State | None = None

    def rights(self) -> Rights:
        """What the job that does it may reach."""
        read = (self.onnx, self.samples, self.reference)
        return Rights(read=tuple(p for p in read if p is not None), write=(self.folder,))


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
