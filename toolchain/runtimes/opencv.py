"""OpenCV's dnn module: the ONNX graph of each variant, read by it as it is.

Its project publishes one wheel for every Python on Arm's 64 bits and x86; ours serve the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolchain.runtimes import Wheels
from toolchain.runtimes.onnxruntime import OfOnnxGraphs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolchain.models.manifest import ModelManifest
    from toolchain.targets import Target


class OpenCv(OfOnnxGraphs):
    """The project's wheels, and ours where it has none."""

    def unsupported(self, target: Target) -> str:
        """Wherever there is neither."""
        from toolchain.wheels import official
        from toolchain.wheels.recipes import opencv

        return official.none_for(self.project, target, opencv.MACHINES)

    def wheels(self, target: Target, manifests: Sequence[ModelManifest]) -> Wheels:
        """The project's, or ours, by the recipe of its name."""
        published = super().wheels(target, manifests)
        return published if published.pinned else Wheels(built=(self.name,))


RUNTIME = OpenCv(
    name="opencv",
    label="OpenCV",
    title="OpenCV",
    project="opencv-python-headless",
    form="ONNX graph",
    makes_artifacts=True,
)
