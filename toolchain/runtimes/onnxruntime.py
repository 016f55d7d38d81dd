"""ONNX Runtime: the ONNX graph of each variant, the same for every target.

The graph is the one that conversion leaves: of an ONNX file the user's own network with its sizes
fixed, of another kind of model what it was turned into and checked as.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolchain.core.errors import ModelError
from toolchain.runtimes import Runtime, Wheels

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from toolchain.models.manifest import File, ModelManifest
    from toolchain.targets import Target


@dataclass(frozen=True, kw_only=True)
class ByPublishedWheels(Runtime):
    """A runtime that executes what conversion leaves, by the wheels that its project publishes.

    Attributes:
        project: on PyPI.
        form: what it executes, in prose.
    """

    project: str
    form: str

    def forms(self, manifest: ModelManifest) -> Mapping[str, File]:
        """The file of each variant that has one."""
        raise NotImplementedError

    def make(
        self, folder: Path, manifest: ModelManifest, progress: Callable[[str], None]
    ) -> ModelManifest:
        """Enter the files that are there; nothing is written.

        Raises:
            ModelError: the network has no such form.
        """
        from toolchain.models.manifest import RuntimeArtifact

        del folder, progress
        others = {name: of for name, of in manifest.artifacts.items() if name != self.name}
        made = manifest.model_copy(update={"artifacts": others})
        forms = self.forms(manifest)
        if not forms:
            raise ModelError(f"it has no {self.form}")
        known = set(RuntimeArtifact.model_fields)
        for variant, file in forms.items():
            fields = file.model_dump(include=known)
            made = made.with_artifact(self.name, RuntimeArtifact(**fields, variant=variant))
        return made

    def unsupported(self, target: Target) -> str:
        """Wherever there is no wheel."""
        from toolchain.wheels import official

        return official.none_for(self.project, target)

    def wheels(self, target: Target, manifests: Sequence[ModelManifest]) -> Wheels:
        """The project's own, one for each Python that it serves."""
        from toolchain.wheels import official

        del manifests
        return Wheels(pinned=official.names(self.project, target))


class OfOnnxGraphs(ByPublishedWheels):
    """What conversion leaves as `onnx` and `graphs` in a model's manifest."""

    def forms(self, manifest: ModelManifest) -> Mapping[str, File]:
        """The ONNX graph of each variant that has one."""
        return manifest.onnx_graphs


class OrBuiltHere(OfOnnxGraphs):
    """The project's wheels, and where it has none ours, by the recipe of the runtime's name."""

    def unsupported(self, target: Target) -> str:
        """Wherever there is neither."""
        from toolchain.wheels import official

        recipe = importlib.import_module(f"toolchain.wheels.recipes.{self.name}")
        return official.none_for(self.project, target, recipe.MACHINES)

    def wheels(self, target: Target, manifests: Sequence[ModelManifest]) -> Wheels:
        """The project's, those for each Python that it serves, or ours."""
        published = super().wheels(target, manifests)
        return published if published.pinned else Wheels(built=(self.name,))


RUNTIME = OrBuiltHere(
    name="onnxruntime",
    label="ORT",
    title="ONNX Runtime",
    project="onnxruntime",
    form="ONNX graph",
    makes_artifacts=True,
)
