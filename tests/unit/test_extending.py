"""What a user adds is one file: here from `tests/extending`, as from a folder of theirs.

A network of the made-up kind goes the way that every network goes.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests import extending
from tests.support.conversion import Bench
from toolchain import formats
from toolchain.convert import conversion
from toolchain.core import plugins
from toolchain.core.errors import ModelError, UsageError
from toolchain.formats import onnx_reference
from toolchain.models.resolve import resolve_model
from toolchain.models.variants import PLAIN

FOLDER = Path(extending.__file__).parent


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The user's folder is known; extras are not installed."""
    monkeypatch.setenv(plugins.VARIABLE, str(FOLDER))
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path


def a_matrix(path: Path) -> Path:
    with path.open("wb") as file:
        np.savez(file, matrix=np.arange(12, dtype=np.float32).reshape(4, 3))
    return path


def test_a_format_of_the_users_own_is_converted_like_any_other(added: Path) -> None:
    bench = Bench(root=added)
    steps: list[str] = []
    made = bench.convert(resolve_model(model_file=a_matrix(added / "net.npznet")), 2, steps)
    assert steps[0] == "reading the matrix"
    assert made.source.kind == "npznet"
    assert [tensor.shape for tensor in (*made.inputs, *made.outputs)] == [(2, 4), (2, 3)]
    assert [check.stage for check in made.checks] == ["onnx"]
    assert "invoke setup --extra onnx2tf" in made.missing["tflite"]
    graph = onnx.load(bench.out / "net" / "b2" / made.graph(PLAIN).file)
    (found,) = onnx_reference.run(graph, {"input": np.eye(4, dtype=np.float32)[:2]})
    assert found.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_what_is_none_of_the_users_kind_is_refused_with_the_way_to_make_one(added: Path) -> None:
    path = added / "net.npznet"
    path.write_text("hello")
    with pytest.raises(ModelError, match=r"not a \.npznet file") as caught:
        resolve_model(model_file=path)
    assert "numpy.savez" in caught.value.resolution


def test_without_the_folder_nobody_knows_of_the_format(
    added: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ".npznet" in formats.titles()
    monkeypatch.delenv(plugins.VARIABLE)
    with pytest.raises(UsageError, match="unknown kind"):
        resolve_model(model_file=a_matrix(added / "net.npznet"))


def test_another_line_in_the_users_module_is_another_conversion(
    added: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = resolve_model(model_file=a_matrix(added / "net.npznet"))

    def identity(name: str, line: str) -> dict[str, object]:
        """Of a conversion, with the user's folder elsewhere and a line more in the module."""
        folder = shutil.copytree(FOLDER, added / name)
        with (folder / "formats" / "npznet.py").open("a") as module:
            module.write(line)
        monkeypatch.setenv(plugins.VARIABLE, str(folder))
        return conversion.identity(spec, 1)

    before = identity("theirs", "")
    assert identity("moved", "") == before
    assert identity("remarked", "# a remark\n") == before
    assert identity("changed", "ANOTHER = 1\n") != before
