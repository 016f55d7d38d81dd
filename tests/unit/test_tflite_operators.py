"""TFLite's operators that tf2onnx takes wrongly or not at all, in ONNX and under TVM."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.support.conformance import pipeline, tflite_cases
from tests.support.conformance.tflite_verdict import judge
from toolchain.formats import onnx_reference
from toolchain.formats.graphs.tflite_graph import TfliteNetwork, with_shapes

# TensorFlow's interpreter says that LiteRT's is to be its heir
pytestmark = pytest.mark.filterwarnings("ignore:[\\s\\S]*Interpreter is deprecated:UserWarning")

MENDED = (
    "BITWISE_XOR", "FLOOR_DIV", "FLOOR_MOD", "GELU", "IF", "MATRIX_DIAG", "MATRIX_SET_DIAG",
    "PRELU", "RANGE", "RELU_N1_TO_1", "RIGHT_SHIFT", "WHERE",
)  # fmt: skip


@pytest.mark.parametrize("operator", MENDED)
def test_an_operator_is_right_under_tvm(operator: str) -> None:
    assert judge(f"{operator}.fp32", "TVM, O3", None) == ("right", "")


@pytest.mark.parametrize("operator", ["BUCKETIZE", "DYNAMIC_UPDATE_SLICE"])
def test_what_onnx_lacks_is_refused_by_its_name(operator: str) -> None:
    result, why = judge(f"{operator}.fp32", "TVM, O3", None)
    assert result == "refused"
    assert operator in why


@pytest.mark.parametrize("approximate", [False, True])
def test_gelu_is_written_out_as_the_file_has_it(approximate: bool) -> None:
    x = np.linspace(-3, 3, 13, dtype=np.float32).reshape(1, 13)
    module = tf.Module()
    module.call = tf.function(
        lambda x: tf.nn.gelu(x, approximate=approximate),
        input_signature=[tf.TensorSpec(x.shape, x.dtype)],
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [module.call.get_concrete_function()], module
    )
    network = TfliteNetwork(bytes(converter.convert()))
    (given,) = network.signature.inputs
    (found,) = onnx_reference.run(network.to_onnx([given.fixed(x.shape)], "gelu"), {given.name: x})
    (right,) = network.run({given.name: x}).values()
    np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-6)


def test_a_size_that_depends_on_values_is_not_taken_for_a_batch() -> None:
    case = tflite_cases.made("WHERE.fp32")
    assert case is not None
    assert with_shapes(case.content, [a.shape for a in case.inputs]) == case.content


def test_a_name_that_a_branch_reads_is_changed_there_too() -> None:
    case = tflite_cases.made("IF.fp32")
    assert case is not None
    network = TfliteNetwork(case.content)
    inputs = [t.fixed(a.shape) for t, a in zip(network.signature.inputs, case.inputs, strict=True)]
    feeds = dict(zip((t.name for t in inputs), case.inputs, strict=True))
    (found,) = pipeline.run(network.to_onnx(inputs, "branches"), feeds, 0)
    (right,) = network.run(feeds).values()
    np.testing.assert_allclose(found, right, rtol=1e-5)
