"""Stand-in for tflite_runtime's Interpreter: a graph of three nodes, two of them delegated."""

from __future__ import annotations

from typing import Any

import numpy as np
from fake_network import Network


class Interpreter:
    """The methods of the real one that the runner calls."""

    def __init__(self, model_path: str, num_threads: int) -> None:
        self._network = Network(model_path)
        self._threads = num_threads

    def allocate_tensors(self) -> None:
        """Nothing to allocate."""

    def get_input_details(self) -> list[dict[str, Any]]:
        """One float input."""
        return [{"index": 0, "dtype": np.float32, "quantization": (0.0, 0)}]

    def get_output_details(self) -> list[dict[str, Any]]:
        """One float output."""
        return [{"index": 3, "dtype": np.float32, "quantization": (0.0, 0)}]

    def set_tensor(self, _index: int, x: np.ndarray) -> None:
        """Keep the input."""
        self._x = x.copy()

    def invoke(self) -> None:
        """Run."""
        self._y = self._network.run(self._x)

    def get_tensor(self, _index: int) -> np.ndarray:
        """The output."""
        return self._y

    def _get_ops_details(self) -> list[dict[str, Any]]:
        return [
            {"op_name": "CONV_2D", "inputs": [0], "outputs": [1]},
            {"op_name": "RELU", "inputs": [1], "outputs": [2]},
            {"op_name": "CUSTOM", "inputs": [2], "outputs": [3]},
            {"op_name": "DELEGATE", "inputs": [0], "outputs": [2]},
        ]
