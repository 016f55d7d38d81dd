"""Wheels that are built elsewhere, by the Docker engine of a worker, and built again to compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from toolchain.cluster.work import Work
from toolchain.core.store import Store
from toolchain.core.worker import Progress
from toolchain.targets import Target
from toolchain.wheels import build, variations


@dataclass(frozen=True, kw_only=True)
class WheelWork(Work):
    """A wheel. Its sources are fetched there.

    Attributes:
        name: its recipe.
        target: what it is for.
    """

    name: str
    target: Target

    def inputs(self) -> Mapping[str, object]:
        """See `Work`."""
        return build.inputs(self.name, self.target)

    def files(self) -> Mapping[str, Path]:
        """See `Work`."""
        return {}

    def at(self, folder: Path) -> Self:
        """See `Work`."""
        del folder
        return self

    def make(self, store: Store, progress: Progress) -> None:
        """See `Work`."""
        build.entry(self.target, self.name, store, progress=progress)


@dataclass(frozen=True, kw_only=True)
class WheelAgainWork(WheelWork):
    """A wheel that is built anew, whatever is there, under other conditions than the first.

    Attributes:
        run: names the verification, so that each builds.
    """

    run: str

    def inputs(self) -> Mapping[str, object]:
        """See `Work`."""
        return {"step": "again", "wheel": super().inputs(), "run": self.run}

    def make(self, store: Store, progress: Progress) -> None:
        """See `Work`."""
        others, _ = variations.other()

        def again(folder: Path) -> None:
            build.again(self.target, self.name, store, others, folder, progress=progress)

        store.get_or_build(self.inputs(), again)
