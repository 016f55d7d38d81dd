"""ONNX Runtime: the ONNX graph of each variant, the same for every target.

The graph is the one that conversion leaves: of an ONNX file the user's own network with its sizes
fixed, of another kind of model what it was turned into and checked as.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolchain.core.errors import ModelError
from toolchain.runtimes import Runtime, Wheels

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from toolchain.models.manifest import File, ModelManifest
    from toolchain.targets import Target

# On PyPI; also the recipe's name where a wheel is built here.
PROJECT = "onnxruntime"


class OnnxRuntime(Runtime):
    """What conversion leaves as `onnx` and `graphs` in a model's manifest."""

    def make(
        self, folder: Path, manifest: ModelManifest, progress: Callable[[str], None]
    ) -> ModelManifest:
        """Enter the graphs that are there; nothing is written.

        Raises:
            ModelError: the network has no ONNX form.
        """
        from toolchain.models.manifest import GRAPH, RuntimeArtifact, missing_key

        del folder, progress
        others = {name: of for name, of in manifest.artifacts.items() if name != self.name}
        made = manifest.model_copy(update={"artifacts": others})
        if manifest.onnx is None:
            why = manifest.missing.get(missing_key(GRAPH), "")
            raise ModelError(f"there is no ONNX form of it{f': {why}' if why else ''}")
        for variant, graph in _graphs(manifest).items():
            entered = RuntimeArtifact(**graph.model_dump(), variant=variant)
            made = made.with_artifact(self.name, entered)
        return made

    def unsupported(self, target: Target) -> str:
        """Wherever there is no wheel."""
        from toolchain.wheels import official

        return official.none_for(PROJECT, target)

    def wheels(self, target: Target, manifests: Sequence[ModelManifest]) -> Wheels:
        """The project's own, one for each Python that it serves."""
        from toolchain.wheels import official

        del manifests
        return Wheels(pinned=official.names(PROJECT, target))


def _graphs(manifest: ModelManifest) -> Mapping[str, File]:
    """The ONNX graph of each variant that has one."""
    from toolchain.models.variants import PLAIN

    assert manifest.onnx is not None
    return {PLAIN: manifest.onnx, **manifest.graphs}


RUNTIME = OnnxRuntime(name=PROJECT, label="ORT", title="ONNX Runtime", makes_artifacts=True)
