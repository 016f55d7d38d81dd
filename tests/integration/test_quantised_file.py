"""A quantised ONNX network of the user's own: taken as it is, int8 where the target can."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

from tests.support.conversion import joined, step
from tests.support.quantized_networks import convolution
from toolchain import matrix, targets
from toolchain.compile import compilation as compiler
from toolchain.models.manifest import ModelManifest
from toolchain.models.resolve import resolve_model
from toolchain.models.variants import PLAIN

TARGETS = ("aarch64", "cortex-a76")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A convolution with 147 thousand weights, compiled for both targets."""
    place = tmp_path_factory.mktemp("quantised")
    file = place / "rounding.onnx"
    onnx.save(convolution((1, 128, 8, 8), 128, 3, pads=[1, 1, 1, 1]), file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEWRIGHT_DIST", str(place))
        patch.setenv("EDGEWRIGHT_CACHE", str(place / "cache"))
        made = matrix.converted([resolve_model(model_file=file)], [1], [PLAIN], step)
        made.refuse()
        plan = matrix.planned(list(made.manifests.items()), [PLAIN], [3])
        for name in TARGETS:
            linker = compiler.Linker(identity="quantised", link=joined, image=lambda: "")
            matrix.compiled(
                plan,
                targets.target(name),
                linker=linker,
                compiler=compiler.release(),
                step=step,
            ).refuse()
        yield plan[0].folder


def test_it_is_judged_as_a_network_that_rounds(folder: Path) -> None:
    checks = {c.stage: c for c in ModelManifest.load(folder).checks}
    assert {"onnx", "tvm-x86"} <= checks.keys()
    assert all(c.max_rel < 0.1 for c in checks.values())


def test_weights_stay_int8_where_the_target_multiplies_them(folder: Path) -> None:
    libraries = ModelManifest.load(folder).libraries
    plain, dots = (libraries[name]["O3"] for name in TARGETS)
    weights = 3 * 3 * 128 * 128
    assert plain.size - dots.size > 2.5 * weights  # 4 bytes a weight, and 1
    assert dots.size > weights
