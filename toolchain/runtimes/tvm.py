"""TVM: a library of each variant at each opt level, compiled for one target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolchain.runtimes import Artifact, Runtime

if TYPE_CHECKING:
    from toolchain.models.manifest import ModelManifest


class Tvm(Runtime):
    """What compilation leaves as `libraries` in a model's manifest."""

    def artifacts(self, manifest: ModelManifest, target: str) -> list[Artifact]:
        """The target's libraries, in the order of their names."""
        return [
            Artifact(variant=library.variant, opt_level=library.opt_level, file=library)
            for _, library in sorted(manifest.libraries.get(target, {}).items())
        ]


RUNTIME = Tvm(name="tvm", label="TVM", title="Apache TVM", has_opt_levels=True)
