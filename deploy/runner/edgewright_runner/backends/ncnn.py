"""ncnn: a network of its own form, out of a zip archive of its graph and its weights."""

from __future__ import annotations

import zipfile
from typing import Any

import numpy as np

from edgewright_runner.backends import paired, typed
from edgewright_runner.ncnn_inputs import SHORTER_FLOATS, one_sample

DISTRIBUTIONS = ("ncnn",)
GRAPH, WEIGHTS = "network.param", "network.bin"


class Backend:
    """A network whose layers run one after another, each on so many threads."""

    def __init__(self, threads: int) -> None:
        import ncnn

        self._ncnn: Any = ncnn
        self._threads = threads
        self._made: list[Any] = []

    def load(self, path: str) -> None:
        """Read the graph, then the weights, which are laid out for this CPU's kernels."""
        net = self._ncnn.Net()
        net.opt.num_threads = self._threads
        for option in SHORTER_FLOATS:
            setattr(net.opt, option, False)
        with zipfile.ZipFile(path) as archive:
            if net.load_param_mem(archive.read(GRAPH).decode()):
                raise ValueError(f"ncnn can't read the graph of {path}")
            with archive.open(WEIGHTS) as stream:
                if net.load_model(stream):
                    raise ValueError(f"ncnn can't read the weights of {path}")
        self._net: Any = net

    def bind(self, signature: dict[str, Any]) -> None:
        """Put the names beside in0, in1, … and out0, out1, …; ncnn drops an input unused."""
        there = set(self._net.input_names())
        inputs = [(f"in{number}", tensor) for number, tensor in enumerate(signature["inputs"])]
        if unknown := there - {name for name, _ in inputs}:
            raise ValueError(f"the model has {', '.join(sorted(unknown))}, which is not expected")
        self._inputs = [(name, tensor["name"]) for name, tensor in inputs if name in there]
        outputs = sorted(self._net.output_names(), key=lambda name: int(name[len("out") :]))
        self._outputs = paired(signature["outputs"], outputs, "output")

    def set_inputs(self, arrays: dict[str, np.ndarray]) -> None:
        """Copy one inference's inputs in."""
        self._feeds = [
            (name, self._ncnn.Mat(one_sample(arrays[key]))) for name, key in self._inputs
        ]

    def run(self) -> None:
        """One inference."""
        extractor = self._net.create_extractor()
        for name, mat in self._feeds:
            if extractor.input(name, mat):
                raise ValueError(f"ncnn refuses {name}")
        self._made = []
        for _, name in self._outputs:
            failed, mat = extractor.extract(name)
            if failed:
                raise ValueError(f"ncnn can't compute {name}")
            self._made.append(mat)

    def outputs(self) -> dict[str, np.ndarray]:
        """The outputs, as the network has them: copies, with the axis of the batch."""
        found = {}
        for (tensor, _), mat in zip(self._outputs, self._made, strict=True):
            array = np.array(mat)
            shape = tensor.get("shape", (1, *array.shape))
            found[tensor["name"]] = typed(array.reshape(shape), tensor)
        return found

    def delegated(self) -> dict[str, int] | None:
        """There is no such thing in ncnn."""
        return None
