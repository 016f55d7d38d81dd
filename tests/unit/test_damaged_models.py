"""Model files with any bytes in them: our own readers refuse them or read them, and never break.

The seed is fixed, so a failure comes again; a longer run takes other ones.
"""

from __future__ import annotations

import contextlib
import io
import random
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from toolchain.core.errors import ModelError
from toolchain.formats import onnx_file, pytorch_file

ROUNDS = 300
NO_NAMES = [
    *("", ".", "/", "..", "a\0b", "x" * 300, "loop", "loop/a", "net.data/x", "a/" * 2000),
    *("net.data\n", "~", "C:\\x"),
]


def an_onnx_model(location: str = "net.data", **more: str) -> onnx.ModelProto:
    """A graph with weights beside it, in a constant of a graph inside a node too."""

    def weights() -> onnx.TensorProto:
        tensor = numpy_helper.from_array(np.ones(4, np.float32), "w")
        onnx.external_data_helper.set_external_data(tensor, location)
        tensor.ClearField("raw_data")
        for key, value in more.items():
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
        return tensor

    constant = helper.make_node("Constant", [], ["c"], value=weights())
    inner = helper.make_graph([constant], "inner", [], [], [weights()])
    node = helper.make_node("Relu", ["x"], ["y"])
    node.attribute.append(helper.make_attribute("body", inner))
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ("N", 4)) for n in "xy")
    return helper.make_model(helper.make_graph([node], "net", [x], [y], [weights()]))


def a_program() -> bytes:
    """An archive as .pt2 files are."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("net/models/model.json", "{}")
        archive.writestr("net/data/weights/weight_0", bytes(64))
    return buffer.getvalue()


def damaged(whole: bytes, rng: random.Random) -> bytes:
    """The bytes with some of them changed, lost, doubled or put in."""
    content = bytearray(whole)
    for _ in range(rng.randint(1, 8)):
        at, length = rng.randrange(len(content)), rng.randint(1, 40)
        change = rng.randrange(4)
        if change == 0:
            content[at] = rng.randrange(256)
        elif change == 1 and len(content) > length:
            del content[at : at + length]
        elif change == 2:
            content[at:at] = rng.randbytes(length)
        else:
            content[at:at] = content[at : at + length]
    return bytes(content)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.data").write_bytes(bytes(16))
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


def test_a_damaged_onnx_file_is_refused_or_read(folder: Path) -> None:
    path, whole = folder / "net.onnx", an_onnx_model().SerializeToString()
    rng = random.Random(20)  # noqa: S311 (the same each time)
    for _ in range(ROUNDS):
        path.write_bytes(damaged(whole, rng))
        with contextlib.suppress(ModelError):
            assert len(onnx_file.FORMAT.digest(path)) == 64


@pytest.mark.parametrize("name", NO_NAMES, ids=range(len(NO_NAMES)))
def test_a_name_that_no_file_beside_it_has_is_refused(folder: Path, name: str) -> None:
    path = folder / "net.onnx"
    path.write_bytes(an_onnx_model(name).SerializeToString())
    with pytest.raises(ModelError, match=r"net\.onnx"):
        onnx_file.FORMAT.digest(path)


@pytest.mark.parametrize("number", ["", "-1", "0x", "1e9", "9" * 40])
def test_numbers_that_are_none_are_left_to_the_confined_reader(folder: Path, number: str) -> None:
    path = folder / "net.onnx"
    path.write_bytes(an_onnx_model(offset=number, length=number).SerializeToString())
    assert len(onnx_file.FORMAT.digest(path)) == 64


def test_a_damaged_archive_of_pytorch_is_refused_or_read(folder: Path) -> None:
    path, whole = folder / "net.pt2", a_program()
    rng = random.Random(20)  # noqa: S311 (the same each time)
    for _ in range(ROUNDS):
        path.write_bytes(damaged(whole, rng))
        with contextlib.suppress(ModelError):
            pytorch_file.FORMAT.refuse_other(path)
            pytorch_file.refuse_pickled(path)
