"""ExecuTorch: a program that its compiler makes of a user's .pt2 file; one serves every target.

The operators that XNNPACK has are its, and the rest run by ExecuTorch's own kernels.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from toolchain.runtimes._made_by_extra import MadeByExtra

if TYPE_CHECKING:
    from toolchain.models.manifest import ModelManifest

FILE = "fp32.pte"


class ExecuTorch(MadeByExtra):
    """One program."""

    def made_from(self, manifest: ModelManifest) -> dict[str, object]:
        """The file, and the order of inputs."""
        inputs = [asdict(tensor) for tensor in manifest.inputs]
        return {"source": manifest.source.weights, "inputs": inputs}


RUNTIME = ExecuTorch(
    name="executorch",
    label="ExecuTorch",
    title="ExecuTorch",
    makes_artifacts=True,
    reads="pytorch",
    file=FILE,
    job="toolchain.convert.executorch.job",
    program="toolchain.convert.executorch.lowering",
)
