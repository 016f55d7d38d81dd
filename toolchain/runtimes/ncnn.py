"""ncnn: a network of its own form, which pnnx makes of the ONNX graph; one serves every target.

A file is a zip archive, nothing in it compressed, of network.param (the graph) and network.bin (the
weights). It is of one sample: pnnx takes the axis of the batch away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolchain.core.errors import ModelError
from toolchain.runtimes._made_by_extra import MadeByExtra

if TYPE_CHECKING:
    from toolchain.models.manifest import ModelManifest

FILE = "fp32.ncnn.zip"
PARTS = ("network.param", "network.bin")


class Ncnn(MadeByExtra):
    """One file of the graph and its weights."""

    def refuse(self, manifest: ModelManifest) -> None:
        """Refuse a network without a graph, and one of several samples."""
        if manifest.onnx is None:
            raise ModelError("it has no ONNX graph")
        if manifest.batch != 1:
            raise ModelError("it is made for one sample at a time: batch 1 alone")

    def made_from(self, manifest: ModelManifest) -> dict[str, object]:
        """The graph."""
        assert manifest.onnx is not None
        return {"graph": manifest.onnx.sha256}


RUNTIME = Ncnn(
    name="ncnn",
    label="ncnn",
    title="ncnn",
    makes_artifacts=True,
    file=FILE,
    job="toolchain.convert.pnnx.job",
    program="toolchain.convert.pnnx.inference",
)
