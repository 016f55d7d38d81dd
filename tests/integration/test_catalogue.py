"""Networks of the catalogue whose weights recognise something."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.support.conversion import Bench
from toolchain.convert import conversion
from toolchain.models.resolve import resolve_model

PALACE, MONASTERY, DAISY = 698, 663, 985  # of ImageNet's 1,000 classes


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(root=tmp_path_factory.mktemp("bench"))


def test_efficientnet_lite0_sees_a_palace_and_a_daisy(bench: Bench) -> None:
    spec = resolve_model("efficientnet-lite0")
    made = bench.convert(spec)
    assert made.source.weights.startswith("published:")
    assert conversion.identity(spec, 1)["pinned"] == made.source.weights.partition(":")[2]
    scores = outputs(bench.out / "efficientnet-lite0" / "b1")
    # the samples are crops of the two photographs in turn, the largest first
    assert scores[0].argmax() in (PALACE, MONASTERY)
    assert scores[1].argmax() == DAISY


def outputs(folder: Path) -> npt.NDArray[np.float32]:
    with np.load(folder / "samples.npz") as arrays:
        given: npt.NDArray[np.float32] = arrays["reference"]
    return given
