"""ncnn on a device: how networks are read, what the options are, how tensors go in and out."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from edgewright_runner import backends, ncnn_inputs


class Extractor:
    """Gives the sum of the inputs, and out10 the first of them doubled."""

    def __init__(self, refusing: set[str]) -> None:
        self.given: dict[str, np.ndarray] = {}
        self.refusing = refusing

    def input(self, name: str, mat: np.ndarray) -> int:
        self.given[name] = mat
        return -1 if name in self.refusing else 0

    def extract(self, name: str) -> tuple[int, np.ndarray]:
        first = self.given["in0"]
        made = first * 2 if name == "out10" else first + self.given["in1"]
        return (-100 if name in self.refusing else 0), made


class Net:
    """Reads anything but an empty graph, and weights that are no zeros."""

    last: Net

    def __init__(self) -> None:
        self.opt = SimpleNamespace()
        self.refusing: set[str] = set()
        self.outputs = ["out10", "out9"]
        Net.last = self

    def load_param_mem(self, text: str) -> int:
        return 0 if text else -1

    def load_model(self, stream: Any) -> int:
        return -1 if any(stream.read()) else 0

    def input_names(self) -> list[str]:
        return ["in0", "in1"]

    def output_names(self) -> list[str]:
        return self.outputs

    def create_extractor(self) -> Extractor:
        return Extractor(self.refusing)


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("ncnn")
    vars(module).update(Net=Net, Mat=np.array)
    monkeypatch.setitem(sys.modules, "ncnn", module)


def a_network(folder: Path, graph: str = "7767517", weights: bytes = bytes(8)) -> Path:
    path = folder / "net.ncnn.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("network.param", graph)
        archive.writestr("network.bin", weights)
    return path


SIGNATURE: dict[str, Any] = {
    "inputs": [{"name": "left"}, {"name": "right"}],
    "outputs": [
        {"name": "sum", "shape": (1, 3), "dtype": "float32"},
        {"name": "double", "dtype": "int64"},
    ],
}


def loaded(path: Path, threads: int = 1) -> backends.Backend:
    backend = backends.open_runtime("ncnn", threads)
    backend.load(str(path))
    return backend


def test_float32_is_computed_as_float32_on_so_many_threads(tmp_path: Path) -> None:
    loaded(a_network(tmp_path), 3)
    options = vars(Net.last.opt)
    assert options.pop("num_threads") == 3
    assert options == {
        "use_fp16_packed": False,
        "use_fp16_storage": False,
        "use_fp16_arithmetic": False,
        "use_bf16_storage": False,
    }


def test_one_sample_goes_in_without_its_batch_and_comes_out_with_it(tmp_path: Path) -> None:
    backend = loaded(a_network(tmp_path))
    backend.bind(SIGNATURE)
    left = np.arange(3, dtype=np.float32).reshape(1, 3)
    backend.set_inputs({"right": np.ones((1, 3), np.int64), "left": left})
    backend.run()
    found = backend.outputs()
    assert list(found) == ["sum", "double"], "out9 is before out10"
    assert np.array_equal(found["sum"], left + 1)
    assert found["double"].dtype == np.int64
    assert found["double"].shape == (1, 3)
    backend.set_inputs({"right": np.ones((1, 3), np.int64), "left": left + 5})
    backend.run()
    assert np.array_equal(found["sum"], left + 1), "it was a copy"
    assert backend.delegated() is None


@pytest.mark.parametrize(
    ("given", "made"),
    [
        (np.zeros((1, 2, 3)), ((2, 3), np.float32)),
        (np.zeros((1, 5), np.int64), ((5,), np.int32)),
        (np.zeros((2, 3), np.float16), ((2, 3), np.float32)),
        (np.zeros(4, bool), ((4,), np.float32)),
    ],
)
def test_an_input_is_given_as_ncnn_has_it(
    given: np.ndarray, made: tuple[tuple[int, ...], type]
) -> None:
    array = ncnn_inputs.one_sample(given)
    assert (array.shape, array.dtype.type) == made


@pytest.mark.parametrize(
    ("graph", "weights", "words"),
    [("", bytes(8), "can't read the graph"), ("7767517", b"\x01", "can't read the weights")],
)
def test_a_network_that_it_cannot_read_is_an_error(
    tmp_path: Path, graph: str, weights: bytes, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        loaded(a_network(tmp_path, graph, weights))


@pytest.mark.parametrize(
    ("name", "words"), [("in1", "ncnn refuses in1"), ("out10", "ncnn can't compute out10")]
)
def test_what_it_refuses_as_it_runs_is_an_error(tmp_path: Path, name: str, words: str) -> None:
    backend = loaded(a_network(tmp_path))
    backend.bind(SIGNATURE)
    Net.last.refusing.add(name)
    array = np.ones((1, 3), np.float32)
    backend.set_inputs({"left": array, "right": array})
    with pytest.raises(ValueError, match=words):
        backend.run()


def test_tensors_that_were_not_expected_are_refused(tmp_path: Path) -> None:
    backend = loaded(a_network(tmp_path))
    with pytest.raises(ValueError, match="the model has in1, which is not expected"):
        backend.bind({**SIGNATURE, "inputs": SIGNATURE["inputs"][:1]})
    with pytest.raises(ValueError, match="the model has 2 outputs, 1 were expected"):
        backend.bind({**SIGNATURE, "outputs": SIGNATURE["outputs"][:1]})
