"""ONNX Runtime: a session of an ONNX graph on the CPU, with its options as they are by default."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from edgewright_runner.backends import Operator, paired, typed

DISTRIBUTIONS = ("onnxruntime", "edgewright-onnxruntime")
ERRORS_ALONE = 3  # of its log's levels
# in a profile, the end of the name of what a node's kernel took, in microseconds
KERNEL = "_kernel_time"
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
        self._profile: tempfile.TemporaryDirectory[str] | None = None

    def observe(self) -> None:
        """Have the session write its profile."""
        self._profile = tempfile.TemporaryDirectory()

    def observed(self) -> list[Operator]:
        """The graph's nodes as the session has them, from its profile, which ends with this."""
        assert self._profile is not None
        with self._profile:
            events = json.loads(Path(self._session.end_profiling()).read_text())
        kinds: dict[str, str] = {}
        took: dict[str, list[int]] = {}
        for event in events:
            name = event.get("name", "")
            if event.get("cat") == "Node" and name.endswith(KERNEL):
                kinds[name] = str(event["args"]["op_name"])
                took.setdefault(name, []).append(int(event["dur"]) * 1000)
        return [Operator(name.removesuffix(KERNEL), kinds[name], took[name]) for name in took]

    def load(self, path: str) -> None:
        """Read the graph, optimise it, allocate."""
        options = self._onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = ERRORS_ALONE
        if self._profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(self._profile.name) / "profile")
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
