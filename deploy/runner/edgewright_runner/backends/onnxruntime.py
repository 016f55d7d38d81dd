"""ONNX Runtime: a session of an ONNX graph on the CPU, with its options as they are by default."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from edgewright_runner.backends import paired, typed

DISTRIBUTIONS = ("onnxruntime", "edgewright-onnxruntime")
ERRORS_ALONE = 3  # of its log's levels
# numpy's names of the types that ONNX Runtime spells otherwise
TYPES = {"float": "float32", "double": "float64", "string": "object"}


class Backend:
    """A session that runs its nodes one after another, each on so many threads."""

    def __init__(self, threads: int) -> None:
        # The published wheels report to their maker from the moment they are imported.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime

        self._onnxruntime: Any = onnxruntime
        self._threads = threads
        self._made: list[np.ndarray] = []

    def load(self, path: str) -> None:
        """Read the graph, optimise it, allocate."""
        options = self._onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = ERRORS_ALONE
        self._session: Any = self._onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )

    def bind(self, signature: dict[str, Any]) -> None:
        """Put the names beside the graph's, which are in the same order."""
        self._inputs = paired(signature["inputs"], self._session.get_inputs(), "input")
        self._outputs = paired(signature["outputs"], self._session.get_outputs(), "output")
        self._wanted = [of.name for _, of in self._outputs]

    def set_inputs(self, arrays: dict[str, np.ndarray]) -> None:
        """Copy one inference's inputs in."""
        self._feeds = {
            of.name: np.array(arrays[tensor["name"]], dtype=_dtype(of.type), order="C")
            for tensor, of in self._inputs
        }

    def run(self) -> None:
        """One inference."""
        self._made = self._session.run(self._wanted, self._feeds)

    def outputs(self) -> dict[str, np.ndarray]:
        """The outputs, as the network has them; each inference makes new ones."""
        return {
            tensor["name"]: typed(np.asarray(array), tensor)
            for (tensor, _), array in zip(self._outputs, self._made, strict=True)
        }

    def delegated(self) -> dict[str, int] | None:
        """ONNX Runtime's providers are no delegates, and there is one."""
        return None


def _dtype(of: str) -> np.dtype[Any]:
    """The type of a tensor's elements, of which ONNX Runtime says such as `tensor(float)`."""
    name = of.partition("(")[2].rstrip(")")
    return np.dtype(TYPES.get(name, name))
