"""A cache and an output folder of a test's own, and what is converted and compiled there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from toolchain import targets
from toolchain.compile import compilation as compiler
from toolchain.convert import conversion
from toolchain.core import store
from toolchain.core.worker import Progress
from toolchain.models.manifest import ModelManifest
from toolchain.models.specification import ModelSpec

TARGET = targets.target("rv64gc")


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A cache and an output folder of one test."""

    root: Path

    @property
    def cache(self) -> store.Store:
        return store.Store(self.root / "cache")

    @property
    def out(self) -> Path:
        return self.root / "models"

    def convert(
        self, spec: ModelSpec, batch: int = 1, steps: list[str] | None = None
    ) -> ModelManifest:
        told = steps if steps is not None else []
        return conversion.convert(spec, batch, out=self.out, cache=self.cache, progress=told.append)

    def compile(
        self,
        name: str,
        opt_level: int = 3,
        steps: list[str] | None = None,
        link: Callable[[list[Path], Path, Progress], None] | None = None,
    ) -> ModelManifest:
        told = steps if steps is not None else []
        return compiler.compile_model(
            self.out / name / "b1",
            TARGET,
            opt_level,
            linker=compiler.Linker(identity="", link=link or joined, image=lambda: ""),
            cache=self.cache,
            progress=told.append,
        )

    def left_over(self) -> list[Path]:
        """What an unfinished job would have left behind."""
        scratch = self.root / "cache" / "tmp"
        return [*scratch.iterdir()] if scratch.is_dir() else []


def joined(objects: list[Path], output: Path, _progress: Progress) -> None:
    """In the linker's place: what goes in comes out. The real one needs the cross image."""
    output.write_bytes(b"".join(path.read_bytes() for path in objects))


@contextmanager
def step(_title: str) -> Iterator[Callable[[str], None]]:
    """In the place of what shows a step's progress."""
    yield lambda _line: None
