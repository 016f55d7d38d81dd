"""ExecuTorch on a device: inputs and outputs by their places, copies in and out."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from edgewright_runner import backends


class Method:
    """Gives the sum of two inputs and the first of them doubled, of what it was given last."""

    def __init__(self) -> None:
        self.given: dict[int, np.ndarray] = {}
        self.made: list[np.ndarray] = []
        self.metadata = SimpleNamespace(num_inputs=lambda: 2, num_outputs=lambda: 2)

    def set_input(self, index: int, array: np.ndarray) -> None:
        self.given[index] = array

    def run(self) -> None:
        self.made = [self.given[0] + self.given[1], self.given[0] * 2]

    def output(self, index: int) -> np.ndarray:
        return self.made[index].copy()


class Runtime:
    """Opens any path, and notes how many threads it was told."""

    threads: list[int] = []  # noqa: RUF012 - cleared by the fixture

    @staticmethod
    def get() -> Runtime:
        return Runtime()

    def set_threads(self, threads: int) -> None:
        Runtime.threads.append(threads)

    def load_program(self, path: str) -> SimpleNamespace:
        assert path == "net.pte"
        return SimpleNamespace(load_method=lambda name: {"forward": Method()}[name])


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    Runtime.threads.clear()
    package, module = ModuleType("executorch"), ModuleType("executorch.runtime")
    vars(module).update(Runtime=Runtime)
    monkeypatch.setitem(sys.modules, "executorch", package)
    monkeypatch.setitem(sys.modules, "executorch.runtime", module)


SIGNATURE: dict[str, Any] = {
    "inputs": [{"name": "left"}, {"name": "right"}],
    "outputs": [{"name": "sum"}, {"name": "double", "dtype": "int64"}],
}


def loaded() -> backends.Backend:
    backend = backends.open_runtime("executorch", 3)
    backend.load("net.pte")
    return backend


def test_inputs_and_outputs_are_paired_by_their_places() -> None:
    backend = loaded()
    backend.bind(SIGNATURE)
    left, right = np.array([1.0, 2.0], np.float32), np.array([5.0, 5.0], np.float32)
    backend.set_inputs({"right": right, "left": left})
    left[:] = 0  # what was given is the caller's again
    backend.run()
    found = backend.outputs()
    assert found["sum"].tolist() == [6, 7]
    assert found["double"].dtype == np.int64
    assert found["double"].tolist() == [2, 4]
    assert Runtime.threads == [3]
    assert backend.delegated() is None


def test_tensors_that_were_not_expected_are_refused() -> None:
    backend = loaded()
    with pytest.raises(ValueError, match="the model has 2 inputs, 1 were expected"):
        backend.bind({**SIGNATURE, "inputs": SIGNATURE["inputs"][:1]})
    with pytest.raises(ValueError, match="the model has 2 outputs, 1 were expected"):
        backend.bind({**SIGNATURE, "outputs": SIGNATURE["outputs"][:1]})
