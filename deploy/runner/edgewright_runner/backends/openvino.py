"""OpenVINO: an ONNX graph compiled for the device's CPU when it is loaded."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgewright_runner.backends import Operator, paired, typed

DISTRIBUTIONS = ("openvino",)


class Backend:
    """One request at a time, on so many threads, with float32 computed as float32."""

    def __init__(self, threads: int) -> None:
        import openvino

        self._openvino: Any = openvino
        self._threads = threads
        self._observed, self._runs = False, 0
        self._first: dict[tuple[str, str], int] = {}

    def observe(self) -> None:
        """Have the compiled graph count."""
        self._observed = True

    def observed(self) -> list[Operator]:
        """The nodes of the compiled graph that were executed; those after the first run are alike.

        OpenVINO tells a node's mean over all runs of the graph so far, in whole microseconds.
        """
        found, others = [], self._runs - 1
        for (name, kind), mean in self._means().items():
            first = self._first.get((name, kind), 0)
            rest = max(0, mean * self._runs - first)
            took = [first, *([rest // others] * others)] if others else [first]
            found.append(Operator(name, kind, took))
        return found

    def _means(self) -> dict[tuple[str, str], int]:
        means: dict[tuple[str, str], int] = {}
        for node in self._request.get_profiling_info():
            if took := round(node.real_time.total_seconds() * 1e9):
                key = node.node_name, node.node_type
                means[key] = means.get(key, 0) + took
        return means

    def load(self, path: str) -> None:
        """Read the graph and compile it."""
        core = self._openvino.Core()
        settings = {
            "INFERENCE_NUM_THREADS": self._threads,
            "NUM_STREAMS": 1,
            # By default CPUs that have them compute float32 in 16-bit floats, and round what
            # meets 8-bit weights: 15 % off of MiniLM's outputs, where this is 1.5e-5.
            "INFERENCE_PRECISION_HINT": "f32",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
            "PERF_COUNT": self._observed,
        }
        compiled = core.compile_model(core.read_model(path), "CPU", settings)
        self._request = compiled.create_infer_request()
        self._described = compiled.inputs, compiled.outputs

    def bind(self, signature: dict[str, Any]) -> None:
        """Put the names beside the graph's tensors, which are in the same order."""
        inputs, outputs = self._described
        self._inputs = paired(signature["inputs"], inputs, "input")
        self._outputs = paired(signature["outputs"], outputs, "output")

    def set_inputs(self, arrays: dict[str, np.ndarray]) -> None:
        """Copy one inference's inputs in."""
        for number, (tensor, described) in enumerate(self._inputs):
            x = np.array(arrays[tensor["name"]], dtype=described.element_type.to_dtype(), order="C")
            self._request.set_input_tensor(number, self._openvino.Tensor(x))

    def run(self) -> None:
        """One inference; it is over when this returns."""
        self._request.infer()
        self._runs += 1
        if self._observed and self._runs == 1:
            self._first = self._means()

    def outputs(self) -> dict[str, np.ndarray]:
        """The outputs, as the network has them: copies, as the request keeps its own."""
        return {
            tensor["name"]: typed(np.array(self._request.get_output_tensor(number).data), tensor)
            for number, (tensor, _) in enumerate(self._outputs)
        }

    def delegated(self) -> dict[str, int] | None:
        """OpenVINO has no delegates."""
        return None
