"""The runtimes that execute models on a device: one module of this folder each.

A module holds `RUNTIME`; its twin on the device is the module of that name in the runner's
`backends/`. A user's own stand in `runtimes/` of a folder that `EDGEWRIGHT_PLUGINS` names. Nothing
here imports a runtime or anything else that is heavy: the tasks' help lists them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolchain.core import plugins
from toolchain.core.errors import UsageError

if TYPE_CHECKING:
    from toolchain.models.manifest import File, ModelManifest

KIND = "runtimes"


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A file that a runtime executes.

    Attributes:
        variant: the numeric form of the network, such as int8.
        opt_level: what our compiler did, for a runtime that has such levels.
        file: its path below the model's folder, sha256 and size.
    """

    variant: str
    opt_level: int | None = None
    file: File


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """A runtime, and what this side of the wire must know of it.

    Attributes:
        name: as results, options and the runner spell it.
        label: as tables and charts show it.
        title: in full, for prose.
        has_opt_levels: whether its artifacts differ by opt level as well as by variant.
    """

    name: str
    label: str
    title: str
    has_opt_levels: bool = False

    def artifacts(self, manifest: ModelManifest, target: str) -> list[Artifact]:
        """The artifacts of a converted model that a device of a target can be given.

        Args:
            manifest: the model's.
            target: the name of the device's target.
        """
        raise NotImplementedError


def all_runtimes() -> dict[str, Runtime]:
    """Every runtime by name, sorted.

    Raises:
        UsageError: a user's module can't be imported.
    """
    found = [
        module.RUNTIME
        for module in plugins.modules(sys.modules[__name__], KIND)
        if isinstance(getattr(module, "RUNTIME", None), Runtime)
    ]
    return {one.name: one for one in sorted(found, key=lambda one: one.name)}


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
