"""Model files with any bytes in them: our own readers refuse them or read them, and never break.

The seed is fixed, so a failure comes again; a longer run takes other ones.
"""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest

from tests.support.damage import damaged
from tests.support.model_files import a_program, an_onnx_model
from toolchain.core.errors import ModelError
from toolchain.formats import onnx_file, pytorch_file

ROUNDS = 300
NO_NAMES = [
    *("", ".", "/", "..", "a\0b", "x" * 300, "loop", "loop/a", "net.data/x", "a/" * 2000),
    *("net.data\n", "~", "C:\\x"),
]


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
