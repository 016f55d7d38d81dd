"""A network that is converted and compiled anew by a worker, from nothing, to compare."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from toolchain.cluster.works.compilation_work import CompilationWork
from toolchain.cluster.works.conversion_work import ConversionWork
from toolchain.compile import compilation
from toolchain.compile.compilation_request import OBJECTS
from toolchain.convert import conversion
from toolchain.core.store import Store, digest_of
from toolchain.core.worker import Progress
from toolchain.models import place
from toolchain.models.variants import PLAIN
from toolchain.targets import Target

OPT_LEVEL = 3
TFLITE = ".tflite"


@dataclass(frozen=True, kw_only=True)
class ModelAgainWork(ConversionWork):
    """The plain form of a network and the objects of its library, whatever is there.

    Its entry has the `.tflite` files by their names, and the objects in `OBJECTS`.

    Attributes:
        target: what is compiled for.
        linker: the identity of what links the objects, which are the same whatever does.
        run: names the verification, so that each makes it.
    """

    target: Target
    linker: str
    run: str

    def inputs(self) -> Mapping[str, object]:
        """See `Work`."""
        return {
            "step": "again",
            "model": super().inputs(),
            "code": compilation.code(),
            "compiler": compilation.release().identity,
            "target": self.target.tvm(),
            "run": self.run,
        }

    def make(self, store: Store, progress: Progress) -> None:
        """See `Work`."""

        def again(folder: Path) -> None:
            with store.scratch() as scratch:
                cold, out = Store(cold_cache(store, scratch)), scratch / "models"
                made = conversion.convert(
                    self.spec, self.batch, out=out, progress=progress, cache=cold
                )
                model = place.folder_of(made.model, made.batch, out)
                library = self.library(model)
                library.make(cold, progress)
                objects = cold.entry(digest_of(library.inputs()))
                assert objects is not None
                (folder / OBJECTS).mkdir()
                for path in (*model.glob(f"*{TFLITE}"), *objects.folder.glob(f"{OBJECTS}/*")):
                    into = folder / OBJECTS if path.suffix != TFLITE else folder
                    shutil.copyfile(path, into / path.name)

        store.get_or_build(self.inputs(), again)

    def library(self, folder: Path) -> CompilationWork:
        """The work of the library's objects, of the network that is converted in a folder."""
        return CompilationWork(
            folder=folder,
            target=self.target,
            opt_level=OPT_LEVEL,
            variant=PLAIN,
            linker=self.linker,
            tuned={},
        )


def cold_cache(store: Store, scratch: Path) -> Path:
    """An empty cache that has the fetched files alone: their bytes are checked by the lock."""
    cache = scratch / "cache"
    cache.mkdir()
    if (store.root / "blobs").is_dir():
        shutil.copytree(store.root / "blobs", cache / "blobs", copy_function=os.link)
    return cache
