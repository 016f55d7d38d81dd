"""TVM: a library of Relax, run by the virtual machine of `tvm.runtime`."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

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

    def set_input(self, x: np.ndarray) -> None:
        """Copy one batch in."""
        self._argument = self._tvm.runtime.tensor(np.ascontiguousarray(x), self._device)

    def run(self) -> None:
        """One inference; the CPU device has no queue to wait for."""
        self._result = self._main(self._argument)

    def output(self) -> np.ndarray:
        """The first output as float32."""
        result = self._result
        if not hasattr(result, "numpy"):  # a tuple of outputs
            result = result[0]
        return np.array(result.numpy()).astype(np.float32, copy=False)

    def delegated(self) -> dict[str, int] | None:
        """TVM has no delegates."""
        return None
