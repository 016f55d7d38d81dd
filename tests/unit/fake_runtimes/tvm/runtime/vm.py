"""Stand-in for tvm.runtime.vm: a machine whose function gives a tuple of one output."""

from __future__ import annotations

from collections.abc import Callable

from fake_network import Network
from tvm.runtime import Tensor


class VirtualMachine:
    """Runs a library's functions."""

    def __init__(self, library: Network, _device: tuple[str, int]) -> None:
        self._library = library

    def __getitem__(self, name: str) -> Callable[[Tensor], tuple[Tensor]]:
        """A function by its name."""
        assert name == "main"
        return lambda x: (Tensor(self._library.run(x.array)),)
