"""OpenCV's dnn module: a network read from an ONNX graph, computed on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgewright_runner.backends import typed

DISTRIBUTIONS = ("opencv-python-headless",)


class Backend:
    """A network whose layers run one after another, each on so many threads."""

    def __init__(self, threads: int) -> None:
        import cv2

        self._cv2: Any = cv2
        cv2.setNumThreads(threads)
        self._made: Sequence[np.ndarray] = ()

    def load(self, path: str) -> None:
        """Read the graph; the engine that knows ONNX's newer operators is taken where it can."""
        self._net: Any = self._cv2.dnn.readNetFromONNX(path)

    def bind(self, signature: dict[str, Any]) -> None:
        """Tensors go by the graph's own names: OpenCV keeps no order of them."""
        self._inputs = [tensor["name"] for tensor in signature["inputs"]]
        self._outputs = signature["outputs"]
        self._names = [tensor["name"] for tensor in self._outputs]
        there = set(self._net.getUnconnectedOutLayersNames())
        for name in self._names:
            if name not in there:
                raise ValueError(f"no output {name}; it has {', '.join(sorted(there))}")

    def set_inputs(self, arrays: dict[str, np.ndarray]) -> None:
        """Copy one inference's inputs in."""
        for name in self._inputs:
            self._net.setInput(np.ascontiguousarray(arrays[name]), name)

    def run(self) -> None:
        """One inference."""
        self._made = self._net.forward(self._names)

    def outputs(self) -> dict[str, np.ndarray]:
        """The outputs, as the network has them."""
        return {
            tensor["name"]: typed(np.array(made), tensor)
            for tensor, made in zip(self._outputs, self._made, strict=True)
        }

    def delegated(self) -> dict[str, int] | None:
        """There is no such thing in OpenCV on the CPU."""
        return None
