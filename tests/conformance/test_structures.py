"""Networks built as those that people ship: compiled at O3, they compute what ONNX Runtime does."""

from __future__ import annotations

import numpy as np
import pytest
import tvm

from tests.support.conformance import pipeline
from tests.support.conformance.structures import STRUCTURES
from tests.support.networks import VECTORS
from toolchain.compile import onnx_import, onnx_simplify
from toolchain.compile import pipeline as product
from toolchain.compile.operators.prepare import prepare
from toolchain.formats import onnx_reference


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_structure_is_right(name: str) -> None:
    model, inputs = STRUCTURES[name]()
    found = pipeline.run(model, inputs, 3)
    for output, right in zip(found, onnx_reference.run(model, inputs), strict=True):
        np.testing.assert_allclose(output, right, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_structure_is_compiled_for_a_board_with_vectors(name: str) -> None:
    model = onnx_simplify.simplify(prepare(STRUCTURES[name]()[0]))
    target = tvm.target.Target(VECTORS)
    module = product.lower(onnx_import.from_onnx(model), target, 3)
    scheduled, _ = product.schedule(module, target, 3)
    assert product.build(scheduled, target) is not None
