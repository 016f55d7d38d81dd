"""TVM: a library of Relax, run by the virtual machine of `tvm.runtime`."""

from __future__ import annotations

import os
import re
import time
from typing import Any

import numpy as np

from edgewright_runner.backends import Operator, typed

DISTRIBUTIONS = (
    "edgewright-tvm-runtime",
    "edgewright-tvm-runtime-source",
    "apache-tvm",
    "apache-tvm-ffi",
)


# Functions that compute the same in other shapes: conv2d, conv2d1, fused_conv2d12_add3.
NUMBER = re.compile(r"(?<=[a-z])_?\d+(?=_|$)")
# What the virtual machine does itself: memory, shapes, types.
OWN = "virtual machine"


class Watch:
    """Takes the time of each call of a virtual machine, without the calls within it."""

    def __init__(self) -> None:
        self.took: dict[str, list[int]] = {}
        self._open: list[list[int]] = []  # when it began, and what calls within it took

    def __call__(self, _function: Any, name: str, before: bool, *_rest: Any) -> int:
        """Begin or end a call; 0 lets it run."""
        now = time.perf_counter_ns()
        if before:
            self._open.append([now, 0])
            return 0
        began, within = self._open.pop()
        if self._open:
            self._open[-1][1] += now - began
        self.took.setdefault(str(name), []).append(now - began - within)
        return 0


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
        self._watch: Watch | None = None

    def observe(self) -> None:
        """Have the virtual machine tell of each call."""
        self._watch = Watch()

    def observed(self) -> list[Operator]:
        """The compiled functions; what the virtual machine does itself is of one kind."""
        took = self._watch.took if self._watch else {}
        return [
            Operator(
                name=name,
                kind=OWN if name.startswith("vm.") else NUMBER.sub("", name),
                took_ns=found,
            )
            for name, found in took.items()
        ]

    def load(self, path: str) -> None:
        """Load the library and set the virtual machine up."""
        self._device = self._tvm.runtime.device("cpu", 0)
        library = self._tvm.runtime.load_module(path)
        self._machine = self._machine_class(library, self._device)
        self._main = self._machine["main"]
        if self._watch is not None:
            self._machine.set_instrument(self._watch)

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
