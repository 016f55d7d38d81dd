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
        self._took: dict[tuple[str, str], list[int]] | None = None

    def observe(self) -> None:
        """Have the compiled graph count."""
        self._took = {}

    def observed(self) -> list[Operator]:
        """The nodes of the compiled graph that were executed."""
        return [Operator(name, kind, took) for (name, kind), took in (self._took or {}).items()]

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
            "PERF_COUNT": self._took is not None,
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
        if self._took is not None:
            for node in self._request.get_profiling_info():
                if took := round(node.real_time.total_seconds() * 1e9):
                    key = node.node_name, node.node_type
                    self._took.setdefault(key, []).append(took)

    def outputs(self) -> dict[str, np.ndarray]:
        """The outputs, as the network has them: copies, as the request keeps its own."""
        return {
            tensor["name"]: typed(np.array(self._request.get_output_tensor(number).data), tensor)
            for number, (tensor, _) in enumerate(self._outputs)
        }

    def delegated(self) -> dict[str, int] | None:
        """OpenVINO has no delegates."""
        return None
