"""Stand-in for tvm.runtime: what the runner calls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from fake_network import Network


@dataclass
class Tensor:
    """An array on a device."""

    array: np.ndarray

    def numpy(self) -> np.ndarray:
        """The array."""
        return self.array


def device(kind: str, number: int) -> tuple[str, int]:
    """A device."""
    return (kind, number)


def tensor(array: np.ndarray, _device: tuple[str, int]) -> Tensor:
    """An array, put on a device."""
    return Tensor(array.copy())


def load_module(path: str) -> Network:
    """A library."""
    return Network(path)
