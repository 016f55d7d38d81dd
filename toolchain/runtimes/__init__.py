"""The runtimes that execute models on a device: one module of this folder each.

A module is called as its runtime is, and holds `RUNTIME`; its twin on the device is the module of
that name in the runner's `backends/`. A user's own stand in `runtimes/` and `backends/` of a folder
that `EDGEWRIGHT_PLUGINS` names. Nothing here imports a runtime or anything else that is heavy.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolchain.core import plugins
from toolchain.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from toolchain.models.manifest import File, ModelManifest
    from toolchain.targets import Target

KIND = "runtimes"


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A file that a runtime executes.

    Attributes:
        variant: the numeric form of the network, such as int8.
        opt_level: what our compiler did, for a runtime that has such levels.
        target: the one target that it was made for; None when it serves all of them.
        file: its path below the model's folder, sha256 and size.
        inputs: the manifest's names of inputs, in the order that the file has them; None where it
            is the manifest's own.
        outputs: the same of outputs.
        reference: what it should give for the samples, where that isn't what its variant's is.
    """

    variant: str
    opt_level: int | None = None
    target: str | None = None
    file: File
    inputs: Sequence[str] | None = None
    outputs: Sequence[str] | None = None
    reference: File | None = None


@dataclass(frozen=True, kw_only=True)
class Wheels:
    """What a runtime needs installed on a device, but for numpy, which a device has.

    Attributes:
        built: names of recipes that build the wheels here.
        pinned: names of the lock's sources that are wheels as they are.
    """

    built: tuple[str, ...] = ()
    pinned: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """A runtime, and what this side of the wire must know of it.

    Attributes:
        name: as results, options, the runner and its module's file spell it.
        label: as tables and charts show it.
        title: in full, for prose.
        has_opt_levels: whether its artifacts differ by opt level as well as by variant.
        makes_artifacts: whether `make` makes them of what conversion leaves.
        reads: the one kind of model file, as `formats` names it, that they can be made of; empty
            where they are made of what conversion leaves of any.
        opened_by_c: what the library for C opens to run it, by the paths in its wheels.

    What the methods say here is true of a runtime whose artifacts are entered into the manifest's
    `artifacts` under its name, that runs on every target and needs nothing installed.
    """

    name: str
    label: str
    title: str
    has_opt_levels: bool = False
    makes_artifacts: bool = False
    reads: str = ""
    opened_by_c: tuple[str, ...] = ()

    def make(
        self, folder: Path, manifest: ModelManifest, progress: Callable[[str], None]
    ) -> ModelManifest:
        """Make its artifacts of a converted model, where they are not the conversion's own files.

        Called after every conversion, also one that found all there: what is up to date is kept.

        Args:
            folder: the model's, where the artifacts are put.
            manifest: of the model.
            progress: called with each step.

        Returns:
            the manifest with them, by `with_artifact`.

        Raises:
            ModelError: it can't take this network, and why.
        """
        raise NotImplementedError

    def make_of(
        self,
        source: Path | None,
        folder: Path,
        manifest: ModelManifest,
        progress: Callable[[str], None],
    ) -> ModelManifest:
        """As `make`, for a runtime that needs the file that was converted.

        Args:
            source: that file; None of a network of the catalogue.
            folder: as `make`.
            manifest: as `make`.
            progress: as `make`.

        Returns:
            as `make`.

        Raises:
            ModelError: as `make`.
        """
        del source
        return self.make(folder, manifest, progress)

    def unmakeable(self, kind: str) -> str:
        """Why nothing can be made for it of a kind of model file here; empty when something can.

        Args:
            kind: as `formats` names it.
        """
        if self.reads not in ("", kind):
            return f"it is made of {self.reads} files alone"
        return self.unmade()

    def unmade(self) -> str:
        """Why `make` can make nothing on this machine, and what to do; empty when it can."""
        return ""

    def artifacts(self, manifest: ModelManifest, target: str) -> list[Artifact]:
        """The artifacts of a converted model that a device of a target can be given.

        Args:
            manifest: the model's.
            target: the name of the device's target.
        """
        return [
            Artifact(
                variant=one.variant,
                opt_level=one.opt_level,
                target=one.target,
                file=one.plain(),
                inputs=one.inputs,
                outputs=one.outputs,
            )
            for one in manifest.artifacts.get(self.name, [])
            if one.target in (None, target)
        ]

    def unsupported(self, target: Target) -> str:
        """Why it can't run on a target at all; empty when it can."""
        del target
        return ""

    def lacks(self, artifact: Path) -> list[str]:
        """What in an artifact the wheels' runtime does not know, in words; none where it has all.

        Args:
            artifact: its file.

        Raises:
            ModelError: the file can't be read.
        """
        del artifact
        return []

    def wheels(self, target: Target, manifests: Sequence[ModelManifest]) -> Wheels:
        """The wheels that a device needs to run the artifacts of these models.

        Args:
            target: the device's.
            manifests: of the models; what any model needs when there is none.

        Raises:
            UsageError: no set of wheels runs all of them.
        """
        del target, manifests
        return Wheels()

    def check(
        self, installed: Mapping[str, str], manifests: Sequence[ModelManifest], target: str
    ) -> None:
        """Refuse a bundle whose wheels don't run its artifacts.

        Args:
            installed: version by the normalised name of each distribution that is in the bundle.
            manifests: of the bundle's models.
            target: the name of the device's target.

        Raises:
            BuildError: they don't.
        """


def names() -> list[str]:
    """The names of all runtimes, sorted; none is imported, as help has no use for more."""
    return [name for name in plugins.names(sys.modules[__name__], KIND) if not _shared(name)]


def all_runtimes() -> dict[str, Runtime]:
    """Every runtime by name, sorted.

    Raises:
        UsageError: a user's module can't be imported, holds none, or one whose name is taken.
    """
    found: dict[str, Runtime] = {}
    for module in plugins.modules(sys.modules[__name__], KIND):
        if _shared(Path(str(module.__file__)).stem):
            continue
        one = getattr(module, "RUNTIME", None)
        if not isinstance(one, Runtime) or one.name != Path(str(module.__file__)).stem:
            raise UsageError(
                f"{module.__file__} holds no RUNTIME of its name",
                resolution="give it one, a toolchain.runtimes.Runtime that is named as the file",
            )
        if one.name in found:
            raise UsageError(f"{module.__file__}: there is a runtime {one.name} already")
        found[one.name] = one
    return dict(sorted(found.items()))


def _shared(name: str) -> bool:
    """Whether a module of our folder is none of a runtime but what several of them share."""
    return name.startswith("_")


def runtime(name: str) -> Runtime:
    """The runtime of that name.

    Raises:
        UsageError: there is none.
    """
    known = all_runtimes()
    if name not in known:
        raise UsageError(
            f"unknown runtime: {name}", resolution=f"known runtimes: {', '.join(known)}"
        )
    return known[name]


def serving(target: Target) -> list[Runtime]:
    """The runtimes that can run on a target, sorted by name."""
    return [one for one in all_runtimes().values() if not one.unsupported(target)]


def executed(manifest: ModelManifest, target: Target) -> list[tuple[Runtime, Artifact]]:
    """Every artifact of a converted model that a device of a target executes, and by what."""
    return [
        (runtime, artifact)
        for runtime in serving(target)
        for artifact in runtime.artifacts(manifest, target.name)
    ]


def wheels_built(target: Target) -> list[str]:
    """The recipes of all wheels that a device of a target needs, whatever models it is sent.

    A runtime that makes its artifacts itself is sent with them alone, so its wheel is not among
    these: it is built when it is named.
    """
    every = [one for one in serving(target) if not one.makes_artifacts]
    return list(dict.fromkeys(recipe for one in every for recipe in one.wheels(target, []).built))
