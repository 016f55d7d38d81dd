"""What ncnn makes of a network: its verdict is a file, whatever its libraries print meanwhile."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.manifests import a_manifest
from toolchain.convert.parity import Outputs
from toolchain.convert.pnnx import job
from toolchain.core import process
from toolchain.core.errors import ModelError

PRINTED = '{"lacking": ["Printed"], "failed": ""}\nlayer 3 is slow\n'


def reference() -> Outputs:
    tensor = a_manifest().outputs[0]
    return Outputs(
        tensors=[tensor], arrays={tensor.name: np.ones((2, *tensor.shape), np.float32)}, batch=1
    )


def left(folder: Path, monkeypatch: pytest.MonkeyPatch, *, lacking: list[str], failed: str) -> None:
    """Have the program print something and leave a verdict."""
    verdict = json.dumps({"lacking": lacking, "failed": failed})

    def run(*_args: object, **_options: object) -> str:
        (folder / job.VERDICT).write_text(verdict)
        return PRINTED

    monkeypatch.setattr(process, "run", run)


@pytest.mark.parametrize(
    ("lacking", "failed", "words"),
    [
        (["Fft", "Whatever"], "", "ncnn has no layer for the graph's Fft, Whatever"),
        ([], "it can't load the network", "ncnn: it can't load the network"),
    ],
)
def test_what_it_lacks_or_refuses_is_named(
    lacking: list[str], failed: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left(tmp_path, monkeypatch, lacking=lacking, failed=failed)
    with pytest.raises(ModelError, match=words):
        job._outputs(Path("python"), tmp_path, reference())


def test_outputs_are_taken_though_something_is_printed_after_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left(tmp_path, monkeypatch, lacking=[], failed="")
    expected = reference()
    (array,) = expected.arrays.values()
    np.savez(tmp_path / "outputs.npz", array.reshape(2, -1))
    (found,) = job._outputs(Path("python"), tmp_path, expected).values()
    assert np.array_equal(found, array)
