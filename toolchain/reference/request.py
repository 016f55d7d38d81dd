"""What running a network here is asked in its own process: light on both sides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from toolchain.core.confinement import Rights
from toolchain.core.worker import Job


@dataclass(frozen=True, kw_only=True)
class ReferenceRequest:
    """Inputs to run through a model here.

    Attributes:
        model: a TFLite or ONNX file.
        inputs: the network's names of its inputs, in the file's order.
        outputs: the same of its outputs.
        arrays: an .npz with `N:NAME` for the N-th inference's input of that name.
        count: of inferences.
        made: the .npz to write, with `N:NAME` of outputs; in a folder of its own.
    """

    model: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    arrays: Path
    count: int
    made: Path

    def rights(self) -> Rights:
        """What the job that does it may reach."""
        return Rights(read=(self.model, self.arrays), write=(self.made.parent,))


RUN = Job("toolchain.reference.reference_job:run", ReferenceRequest, type(None))
