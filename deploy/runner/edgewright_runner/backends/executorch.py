"""ExecuTorch: a program in a file, by its kernels and XNNPACK's."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgewright_runner.backends import paired, typed

DISTRIBUTIONS = ("executorch",)
METHOD = "forward"


class Backend:
    """A program whose operators share a pool of so many threads."""

    def __init__(self, threads: int) -> None:
        from executorch.runtime import Runtime

        self._runtime: Any = Runtime.get()
        self._runtime.set_threads(threads)

    def load(self, path: str) -> None:
        """Read the program, and have XNNPACK lay out its weights for this CPU's kernels."""
        self._method: Any = self._runtime.load_program(path).load_method(METHOD)

    def bind(self, signature: dict[str, Any]) -> None:
        """Its inputs and outputs have places and no names."""
        meta = self._method.metadata
        inputs, outputs = range(meta.num_inputs()), range(meta.num_outputs())
        self._inputs = paired(signature["inputs"], list(inputs), "input")
        self._outputs = paired(signature["outputs"], list(outputs), "output")

    def set_inputs(self, arrays: dict[str, np.ndarray]) -> None:
        """Copy one inference's inputs in."""
        for tensor, index in self._inputs:
            self._method.set_input(index, np.array(arrays[tensor["name"]]))

    def run(self) -> None:
        """One inference."""
        self._method.run()

    def outputs(self) -> dict[str, np.ndarray]:
        """Copies of the outputs."""
        return {
            tensor["name"]: typed(self._method.output(index), tensor)
            for tensor, index in self._outputs
        }

    def delegated(self) -> dict[str, int] | None:
        """What XNNPACK took is in the program, and not told on the device."""
        return None
