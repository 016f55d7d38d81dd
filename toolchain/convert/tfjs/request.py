"""What a network is asked for as: light, so that asking imports no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from toolchain.convert.requests import ConversionRequest
from toolchain.core.confinement import Rights
from toolchain.core.worker import Job

GRAPH, LAYERS = "graph", "layers"
# TensorFlow's operators, which every network has; or Keras's layers, which can be trained on.
FORMS = (GRAPH, LAYERS)
PLAIN = "float32"
# What weights are kept as: the others are turned back to float32 as the network is read.
WEIGHTS = (PLAIN, "float16", "uint16", "uint8")
MODEL = "model.json"


@dataclass(frozen=True, kw_only=True)
class TfjsRequest:
    """A network of TensorFlow.js.

    Attributes:
        network: which, and its batch; its own folder is that of the converted model.
        form: one of FORMS.
        weights: one of WEIGHTS.
        folder: takes the network: model.json and the files that it names.
    """

    network: ConversionRequest
    form: str
    weights: str
    folder: Path

    def rights(self) -> Rights:
        """What the job that does it may reach."""
        inner = self.network.rights()
        parts = [path for path in inner.write if path != self.network.folder]
        read = (*inner.read, self.network.folder)
        return Rights(read=read, write=(self.folder, *parts))


MAKE = Job("toolchain.convert.tfjs.job:make", TfjsRequest, type(None))
