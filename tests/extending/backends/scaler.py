"""The made-up runtime on the device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

DISTRIBUTIONS = ()


class Backend:
    """Multiplies."""

    def __init__(self, threads: int) -> None:
        del threads

    def load(self, path: str) -> None:
        """Read the factor."""
        self._factor = np.float32(json.loads(Path(path).read_text())["factor"])

    def bind(self, signature: dict[str, Any]) -> None:
        """Keep what its tensors are called."""
        (self._input,), (self._output,) = signature["inputs"], signature["outputs"]

    def set_inputs(self, arrays: dict[str, np.ndarray]) -> None:
        """Keep one batch."""
        self._x = arrays[self._input["name"]].copy()

    def run(self) -> None:
        """One inference."""
        self._y = self._x * self._factor

    def outputs(self) -> dict[str, np.ndarray]:
        """The product."""
        return {self._output["name"]: self._y.copy()}

    def delegated(self) -> dict[str, int] | None:
        """There are no delegates."""
        return None
