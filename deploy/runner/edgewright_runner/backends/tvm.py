"""TVM: a library of Relax, run by the virtual machine of `tvm.runtime`."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from edgewright_runner.backends import typed

DISTRIBUTIONS = (
    "edgewright-tvm-runtime",
    "edgewright-tvm-runtime-source",
    "apache-tvm",
    "apache-tvm-ffi",
)


class Backend:
    """A virtual machine on the CPU."""

    def __init__(self, threads: int) -> None:
        # read once, when the thread pool starts
        os.environ["TVM_NUM_THREADS"] = str(threads)
        import tvm.runtime
        from tvm.runtime.vm import VirtualMachine

        self._tvm: Any = tvm
        self._machine_class: Any = VirtualMachine
        self._result: Any = None

    def load(self, path: str) -> None:
        """Load the library and set the virtual machine up."""
        self._device = self._tvm.runtime.device("cpu", 0)
        library = self._tvm.runtime.load_module(path)
        self._machine = self._machine_class(library, self._device)
        self._main = self._machine["main"]

    def bind(self, signature: dict[str, Any]) -> None:
        """Keep the names in the order of the function's arguments and results."""
        self._inputs, self._outputs = signature["inputs"], signature["outputs"]

    def set_inputs(self, arrays: dict[str, np.ndarray]) -> None:
        """Copy one inference's inputs in."""
        self._arguments = [
            self._tvm.runtime.tensor(np.asarray(arrays[one["name"]], order="C"), self._device)
            for one in self._inputs
        ]

    def run(self) -> None:
        """One inference; the CPU device has no queue to wait for."""
        self._result = self._main(*self._arguments)

    def outputs(self) -> dict[str, np.ndarray]:
        """The outputs, as the network has them."""
        result = self._result
        found = [result] if hasattr(result, "numpy") else list(result)
        return {
            one["name"]: typed(np.array(tensor.numpy()), one)
            for one, tensor in zip(self._outputs, found, strict=True)
        }

    def delegated(self) -> dict[str, int] | None:
        """TVM has no delegates."""
        return None
