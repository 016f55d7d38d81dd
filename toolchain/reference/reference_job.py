"""The work of running a network here, in the worker."""

from __future__ import annotations

import numpy as np

from toolchain import formats
from toolchain.core.worker import Progress
from toolchain.reference.request import ReferenceRequest


def run(request: ReferenceRequest, progress: Progress) -> None:
    """Run each inference through a TFLite or ONNX file; the worker's entry.

    Raises:
        ModelError: it can't be run.
    """
    network = formats.format_of(request.model).load(request.model, progress)
    given = [tensor.name for tensor in network.signature.inputs]
    said = [tensor.name for tensor in network.signature.outputs]
    made = {}
    with np.load(request.arrays, allow_pickle=False) as arrays:
        for number in range(request.count):
            feeds = {
                to: arrays[f"{number}:{name}"]
                for to, name in zip(given, request.inputs, strict=True)
            }
            outputs = network.run(feeds)
            for name, there in zip(request.outputs, said, strict=True):
                made[f"{number}:{name}"] = outputs[there]
    np.savez(request.made, allow_pickle=False, **made)
