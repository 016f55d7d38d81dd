"""TensorFlow Lite: a .tflite file of each variant, the same for every target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolchain.runtimes import Artifact, Runtime, Wheels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolchain.models.manifest import ModelManifest
    from toolchain.targets import Target


class TensorFlowLite(Runtime):
    """What conversion leaves as `tflite` in a model's manifest."""

    def artifacts(self, manifest: ModelManifest, target: str) -> list[Artifact]:
        """A file for each variant."""
        del target  # one file serves all of them
        return [
            Artifact(variant=name, file=file, inputs=file.inputs, outputs=file.outputs)
            for name, file in sorted(manifest.tflite.items())
        ]

    def wheels(self, target: Target, manifests: Sequence[ModelManifest]) -> Wheels:
        """The interpreter's, built here with XNNPACK."""
        del target, manifests
        return Wheels(built=("tflite_runtime",))


RUNTIME = TensorFlowLite(name="tflite", label="TFLite", title="TensorFlow Lite")
