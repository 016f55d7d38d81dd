"""What conversions are asked in their own process: light, so that asking imports no TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from toolchain.core.confinement import Rights
from toolchain.core.worker import Job
from toolchain.formats.signature import Tensor
from toolchain.formats.state import State
from toolchain.models.specification import ModelSpec


@dataclass(frozen=True, kw_only=True)
class Part:
    """Something that is made once and kept; all are None where there is no such part.

    Attributes:
        found: the folder that it is read from, as it was made before.
        wanted: the folder to put it into, as it is made now.
        pinned: the file of the lock that it is read from instead.
    """

    found: Path | None = None
    wanted: Path | None = None
    pinned: Path | None = None


@dataclass(frozen=True, kw_only=True)
class ConversionRequest:
    """The plain form of a network.

    Attributes:
        spec: the model.
        batch: that its graphs are fixed at.
        weights: of a catalogue model.
        folder: takes the manifest and the files that it names.
    """

    spec: ModelSpec
    batch: int
    weights: Part
    folder: Path

    def rights(self) -> Rights:
        """What the job that does it may reach."""
        return _rights(self.spec, self.folder, (self.weights,))


@dataclass(frozen=True, kw_only=True)
class VariantRequest:
    """One numeric variant of a network.

    Attributes:
        spec: the model.
        batch: that its graphs are fixed at.
        variant: one of `variants.VARIANTS`.
        samples: an npz file, as `manifest.Samples` has it, of the converted model.
        outputs: of the converted model, as its manifest has them.
        state: the same.
        weights: of a catalogue model.
        tuned: the weights after training on, where the variant has any.
        folder: takes the variant's files and `variant.json`.
    """

    spec: ModelSpec
    batch: int
    variant: str
    samples: Path
    outputs: tuple[Tensor, ...]
    state: State | None
    weights: Part
    folder: Path
    tuned: Part = field(default_factory=Part)

    def rights(self) -> Rights:
        """What the job that does it may reach."""
        return _rights(self.spec, self.folder, (self.weights, self.tuned), self.samples)


def _rights(spec: ModelSpec, folder: Path, parts: Sequence[Part], *more: Path) -> Rights:
    """To read a model's files and the parts that are there, and to write the ones that aren't."""
    found = [path for part in parts for path in (part.found, part.pinned) if path is not None]
    wanted = [part.wanted for part in parts if part.wanted is not None]
    return Rights(read=(*spec.files(), *found, *more), write=(folder, *wanted))


CONVERT = Job("toolchain.convert.conversion_job:convert", ConversionRequest, type(None))
MAKE_VARIANT = Job("toolchain.convert.variant_job:make", VariantRequest, type(None))
