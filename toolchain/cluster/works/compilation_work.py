"""Compilations that may be done elsewhere: a library's objects, which are linked where it is asked.

So a worker needs no Docker engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn, Self

from toolchain.cluster.work import Work
from toolchain.compile import compilation
from toolchain.compile.compilation import LibraryPlan, Linker
from toolchain.compile.compilation_request import TileRecord
from toolchain.core.store import Store
from toolchain.core.worker import Progress
from toolchain.models import manifest
from toolchain.models.manifest import ModelManifest
from toolchain.targets import Target


@dataclass(frozen=True, kw_only=True)
class CompilationWork(Work):
    """The objects of a library, by the release of TVM.

    Attributes:
        folder: of the converted model.
        target: what is compiled for.
        opt_level: 0 to 3.
        variant: of the network.
        linker: the identity of what links.
        tuned: tiles by workload, as `compile_model` takes them.
    """

    folder: Path
    target: Target
    opt_level: int
    variant: str
    linker: str
    tuned: Mapping[str, TileRecord]

    def inputs(self) -> Mapping[str, object]:
        """See `Work`."""
        return self._plan().object_inputs()

    def files(self) -> Mapping[str, Path]:
        """See `Work`."""
        present = ModelManifest.load(self.folder)
        names = [file.file for file in compilation.needed(present, self.variant)]
        return {name: self.folder / name for name in (manifest.FILE, *names)}

    def at(self, folder: Path) -> Self:
        """See `Work`."""
        return replace(self, folder=folder)

    def make(self, store: Store, progress: Progress) -> None:
        """See `Work`."""
        # as many jobs run at a worker as it has threads, so each has one
        compilation.objects(self._plan(), store, check_in_parallel=False, progress=progress)

    def _plan(self) -> LibraryPlan:
        return LibraryPlan.of(
            self.folder,
            self.target,
            self.opt_level,
            linker=Linker(identity=self.linker, link=_links_nothing, image=str),
            compiler=compilation.release(),
            variant=self.variant,
            tuned=self.tuned,
        )


def _links_nothing(_objects: list[Path], _output: Path, _progress: Progress) -> NoReturn:
    raise AssertionError("a library is linked by who asked for it")
