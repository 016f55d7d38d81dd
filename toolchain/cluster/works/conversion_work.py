"""Conversions that may be done elsewhere: a network's plain form, and each variant of it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from toolchain import formats
from toolchain.cluster.work import Work, files_below
from toolchain.convert import conversion, variant_conversion
from toolchain.core.store import Store
from toolchain.core.worker import Progress
from toolchain.models import manifest
from toolchain.models.manifest import ModelManifest
from toolchain.models.specification import ModelSpec

MODEL, WEIGHTS, OWN, CONVERTED = "model", "weights", "own", "converted"


@dataclass(frozen=True, kw_only=True)
class ConversionWork(Work):
    """The plain form of a network.

    Attributes:
        spec: the model.
        batch: that its graphs are fixed at.
    """

    heavy = True
    spec: ModelSpec
    batch: int

    def inputs(self) -> Mapping[str, object]:
        """See `Work`."""
        return conversion.identity(self.spec, self.batch)

    def files(self) -> Mapping[str, Path]:
        """See `Work`."""
        return _files(self.spec)

    def at(self, folder: Path) -> Self:
        """See `Work`."""
        return replace(self, spec=_at(self.spec, folder))

    def make(self, store: Store, progress: Progress) -> None:
        """See `Work`."""
        with store.scratch() as out:
            conversion.convert(self.spec, self.batch, out=out, progress=progress, cache=store)


@dataclass(frozen=True, kw_only=True)
class VariantWork(Work):
    """A numeric variant of a network that is converted.

    Attributes:
        spec: the model.
        batch: that its graphs are fixed at.
        variant: one of `variants.VARIANTS`.
        folder: of the converted model.
    """

    heavy = True
    spec: ModelSpec
    batch: int
    variant: str
    folder: Path

    def inputs(self) -> Mapping[str, object]:
        """See `Work`."""
        present = ModelManifest.load(self.folder)
        return variant_conversion.identity(self.spec, self.batch, self.variant, present)

    def files(self) -> Mapping[str, Path]:
        """See `Work`."""
        samples = ModelManifest.load(self.folder).samples.file
        names = (manifest.FILE, samples)
        return _files(self.spec) | {f"{CONVERTED}/{name}": self.folder / name for name in names}

    def at(self, folder: Path) -> Self:
        """See `Work`."""
        return replace(self, spec=_at(self.spec, folder), folder=folder / CONVERTED)

    def make(self, store: Store, progress: Progress) -> None:
        """See `Work`."""
        with store.scratch() as scratch:
            copied = scratch / CONVERTED  # a variant is put beside what it is made of
            shutil.copytree(self.folder, copied)
            variant_conversion.add(
                self.spec, self.batch, self.variant, copied, progress=progress, cache=store
            )


def _files(spec: ModelSpec) -> dict[str, Path]:
    """All that a conversion reads of a user's."""
    found: dict[str, Path] = {}
    if spec.path is not None:
        for path in formats.all_formats()[spec.kind].files(spec.path):
            # a model's other files are found by where they stand beside it
            beside = path.relative_to(spec.path.parent).as_posix()
            found |= files_below(f"{MODEL}/{beside}", path)
    if spec.weights is not None:
        found |= files_below(f"{WEIGHTS}/{spec.weights.name}", spec.weights)
    for key, path in {} if spec.own is None else spec.own.files().items():
        found |= files_below(f"{OWN}/{key}/{path.name}", path)
    return found


def _at(spec: ModelSpec, folder: Path) -> ModelSpec:
    own = spec.own
    if own is not None:
        there = {key: folder / OWN / key / path.name for key, path in own.files().items()}
        own = own.model_copy(update=there)
    return replace(
        spec,
        path=spec.path and folder / MODEL / spec.path.name,
        weights=spec.weights and folder / WEIGHTS / spec.weights.name,
        own=own,
    )
