"""LiteRT: the .tflite files of TensorFlow Lite, by its successor's own wheels.

Its interpreter knows newer versions of operators than the one that is built here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolchain.runtimes.onnxruntime import ByPublishedWheels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from toolchain.models.manifest import File, ModelManifest


class LiteRt(ByPublishedWheels):
    """What conversion leaves as `tflite` in a model's manifest."""

    def forms(self, manifest: ModelManifest) -> Mapping[str, File]:
        """The file of each variant."""
        return manifest.tflite


RUNTIME = LiteRt(
    name="litert",
    label="LiteRT",
    title="LiteRT",
    project="ai-edge-litert",
    form="TFLite form",
    makes_artifacts=True,
)
