"""Constants that numpy computes: the same values, and none of an index left for LLVM."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import tvm
from onnx import helper
from tvm import relax

from tests.support.conformance import pipeline as whole
from tests.support.conformance.single_nodes import floats, one
from tests.support.networks import X86, model, random
from toolchain.compile import onnx_import, pipeline, tvm_versions
from toolchain.compile.operators.prepare import prepare
from toolchain.compile.relax.rewriter import is_call
from toolchain.formats import onnx_reference

STEPS = 40


def layer() -> onnx.ModelProto:
    """An LSTM of STEPS steps, each of which takes its part of the input by an index."""
    made, _ = one(
        "LSTM",
        {"x": floats(STEPS, 1, 8)},
        {"w": floats(1, 16, 8), "r": floats(1, 16, 4), "b": floats(1, 32)},
        hidden_size=4,
    )
    return made


def read_alone(module: tvm.IRModule) -> int:
    """How many calls of loops there are that read constants alone, or what is made of such."""
    known, found = set(), 0
    for block in module["main"].body.blocks:
        for binding in block.bindings:
            if not is_call(binding.value, "call_tir"):
                continue
            given = binding.value.args[1].fields
            if all(tvm_versions.is_constant(one) or one in known for one in given):
                known.add(binding.var)
                found += 1
    return found


def test_the_index_of_a_step_is_no_function_that_is_compiled() -> None:
    """Three such layers of 160 steps took two and a half minutes."""
    target = tvm.target.Target(X86)
    module = onnx_import.from_onnx(prepare(layer()))
    with target, tvm.transform.PassContext(opt_level=3):
        for one_pass in pipeline.passes(target, 3):
            if str(one_pass.info.name) == "FoldConstant":
                break
            module = one_pass(module)
    assert read_alone(module) < STEPS // 4


@pytest.mark.parametrize("index", [0, 2, -1, -4])
def test_an_index_that_is_constant_takes_what_it_took(index: int) -> None:
    case = model(
        [helper.make_node("Gather", ["x", "i"], ["y"], axis=1)],
        (3, 4, 5),
        {"i": np.array(index, np.int64)},
    )
    x = random(3, 4, 5)
    (right,) = onnx_reference.run(case, {"x": x})
    for level in (1, 3):
        (found,) = whole.run(case, {"x": x}, level)
        np.testing.assert_array_equal(found, right)


def test_whole_numbers_beyond_32_bits_stay_what_they_are() -> None:
    """Of a constant whose type isn't said, TVM makes an int32."""
    from toolchain.compile.relax.constant_folding import fold_constant_by_numpy

    large = np.array([[1 << 40, -(1 << 35), 7]], np.int64)
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType([3, 1], "int64"))
    with builder.function("main", [x]):
        with builder.dataflow():
            turned = builder.emit(relax.op.permute_dims(relax.const(large, "int64")))
            made = builder.emit_output(relax.op.add(x, turned))
        builder.emit_func_output(made)
    folded = fold_constant_by_numpy()(builder.finalize())
    held: list[np.ndarray[Any, Any]] = []

    def visit(node: Any) -> None:
        if (value := tvm_versions.constant_value(node)) is not None:
            held.append(value)

    relax.analysis.post_order_visit(folded["main"], visit)
    (found,) = held
    np.testing.assert_array_equal(found, large.T)
    assert found.dtype == np.int64


def test_numbers_that_are_computed_are_left_alone() -> None:
    """A size that is known only as it runs, and fractions, are TVM's to compute."""
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType([3], "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            half = builder.emit(
                relax.op.add(relax.const(0.1, "float32"), relax.const(0.2, "float32"))
            )
            made = builder.emit_output(relax.op.add(x, half))
        builder.emit_func_output(made)
    from toolchain.compile.relax.constant_folding import fold_constant_by_numpy

    before = builder.finalize()
    tvm.ir.assert_structural_equal(fold_constant_by_numpy()(before), before)
