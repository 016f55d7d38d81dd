"""A quantised network in integers against TensorFlow Lite's reference kernels, in steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from tests.support import tflite_models
from toolchain.compile import compilation_job, pipeline
from toolchain.formats.rounding import tflite_network

Array = npt.NDArray[Any]
Run = Callable[[Sequence[Array]], list[Array]]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far one set of outputs is from another.

    Attributes:
        values: how many there are.
        same: the share that is the same.
        within: the share that is one step of its output's scale apart, or none.
        most: the most steps that one is apart.
    """

    values: int
    same: float
    within: float
    most: int


def executable(module: tvm.IRModule, opt_level: int) -> Run:
    """What runs an imported network, by the product's passes and schedules on this machine."""
    here = compilation_job.host_target()
    scheduled, _ = pipeline.schedule(pipeline.lower(module, here, opt_level), here, opt_level, {})
    main = relax.VirtualMachine(pipeline.build(scheduled, here), tvm.cpu())["main"]

    def run(given: Sequence[Array]) -> list[Array]:
        made: Any = main(*(tvm.runtime.tensor(np.array(one, order="C")) for one in given))
        parts = [made] if isinstance(made, tvm.runtime.Tensor) else list(made)
        return [np.asarray(part.numpy()) for part in parts]

    return run


def agreement(content: bytes, run: Run, samples: Sequence[Sequence[Array]]) -> Agreement:
    """How far what is run is from the reference kernels.

    Args:
        content: the network's file.
        run: given an array for each of the file's inputs, in its order, gives its outputs.
        samples: an array for each input, for each inference.
    """
    sizes = scales(tflite_network.read(content))
    expected = tflite_models.references(content, samples)
    apart = [
        np.rint(np.abs(one.astype(np.float64) - other.astype(np.float64)) / size).ravel()
        for outputs, given in zip(expected, samples, strict=True)
        for one, other, size in zip(outputs, run(given), sizes, strict=True)
        if size
    ]
    steps = np.concatenate(apart)
    return Agreement(
        values=steps.size,
        same=float((steps == 0).mean()),
        within=float((steps <= 1).mean()),
        most=int(steps.max(initial=0)),
    )


def scales(read: tflite_network.Network) -> list[float]:
    """A step of each output, in its own numbers: 1 where it is steps itself; 0 where it has none.

    One of float32 that is made of steps (DEQUANTIZE) has theirs.
    """
    makers = {number: one for one in read.operators for number in one.outputs}
    found = []
    for number in read.outputs:
        maker, tensor = makers.get(number), read.tensors[number]
        if tensor.kind != "float32":
            found.append(1.0)
        elif maker is not None and maker.name == "DEQUANTIZE":
            found.append(float(read.tensors[maker.inputs[0]].scale))
        else:
            found.append(0.0)
    return found
