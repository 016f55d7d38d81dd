"""A few of ONNX's own cases, and chains of activations, through the pipeline at O3."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.support.conformance import cases, pipeline
from tests.support.conformance.verdict import judge
from toolchain.formats import onnx_reference

# One of each rule, and of what only our own layout pass or none of our schedules takes.
SAMPLE = (
    "test_attention_4d_causal", "test_averagepool_2d_ceil", "test_cast_FLOAT_to_FLOAT8E4M3FN",
    "test_celu", "test_center_crop_pad_crop", "test_col2im", "test_convinteger_with_padding",
    "test_cumprod_1d", "test_det_nd", "test_dft", "test_dynamicquantizelinear",
    "test_dynamicquantizelinear_expanded",
    "test_gru_defaults", "test_isinf_negative", "test_l2normalization_axis_1",
    "test_layer_normalization_2d_axis0", "test_loop11", "test_lstm_with_peepholes",
    "test_max_example", "test_onehot_negative_indices", "test_pow_types_int32_float32",
    "test_qlinearmatmul_2D_uint8_float32", "test_quantizelinear_int4",
    "test_reduce_max_bool_inputs", "test_reduce_sum_empty_set",
    "test_resize_upsample_scales_linear", "test_reversesequence_time",
    "test_rotary_embedding", "test_scan9_sum", "test_scatternd", "test_simple_rnn_defaults",
    "test_sinh", "test_split_zero_size_splits_opset18", "test_stft_with_window",
    "test_tensorscatter_circular",
    "test_bitcast_int8_to_uint8", "test_cast_no_saturate_FLOAT_to_FLOAT8E5M2FNUZ",
    "test_celu_float16", "test_deform_conv_with_mask_bias",
    "test_maxpool_with_argmax_2d_precomputed_pads", "test_mod_float_edge_cases_fmod_0_float32",
    "test_nonmaxsuppression_iou_threshold_boundary", "test_qlinearmatmul_2D_uint8_float16",
    "test_resize_downsample_scales_linear_align_corners", "test_roialign_mode_max",
    "test_spacetodepth_crd_mode_example",
)  # fmt: skip
CHAINS = (["Mish", "Mish"], ["Mish", "Relu", "Mish"], ["Tanh", "Sigmoid", "Tanh", "Sigmoid"])
SECONDS = 20  # of a processor; two Mish took minutes
SIDE_BY_SIDE = 40  # of sixteen chains
ACTIVATIONS = (
    "Celu", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "Relu",
    "Selu", "Sigmoid", "Softplus", "Softsign", "Tanh", "ThresholdedRelu",
)  # fmt: skip


@pytest.mark.parametrize("name", SAMPLE)
def test_a_case_of_onnx_is_right(name: str) -> None:
    verdict = judge(name, 3)
    assert (verdict.result, verdict.why) == ("right", "")


@pytest.mark.parametrize("chain", CHAINS)
def test_activations_one_after_another_compile_quickly_and_are_right(chain: list[str]) -> None:
    x = np.linspace(-4, 4, 24, dtype=np.float32).reshape(2, 12)
    names = ["x", *(f"a{n}" for n in range(1, len(chain))), "y"]
    nodes = [
        helper.make_node(kind, [source], [output])
        for kind, (source, output) in zip(chain, itertools.pairwise(names), strict=True)
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, x.shape) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 9
    started = time.process_time()
    outputs = pipeline.run(model, {"x": x}, 3)
    assert time.process_time() - started < SECONDS
    for output, right in zip(outputs, onnx_reference.run(model, {"x": x}), strict=True):
        np.testing.assert_allclose(output, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("first", ACTIVATIONS)
def test_an_activation_before_every_other_compiles_quickly_and_is_right(first: str) -> None:
    """Chains of two, side by side in one graph, each of its own beginning."""
    x = np.linspace(-3, 3, 24, dtype=np.float32).reshape(2, 12)
    nodes = [
        node
        for after in ACTIVATIONS
        for node in (
            helper.make_node(first, ["x"], [f"between {after}"]),
            helper.make_node(after, [f"between {after}"], [after]),
        )
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, x.shape) for n in ACTIVATIONS]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)
    graph = helper.make_graph(nodes, "chains", [given], ends)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    started = time.process_time()
    outputs = pipeline.run(model, {"x": x}, 3)
    assert time.process_time() - started < SIDE_BY_SIDE
    rights = onnx_reference.run(model, {"x": x})
    for name, output, right in zip(ACTIVATIONS, outputs, rights, strict=True):
        np.testing.assert_allclose(output, right, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("level", [0, 3])
def test_a_row_that_is_masked_whole_is_seen_to_be(level: int) -> None:
    x = np.array([[-np.inf, -np.inf], [-np.inf, 1], [2, 3]], np.float32)
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], axes=[1], keepdims=0),
        helper.make_node("Softmax", ["x"], ["shares"], axis=1),
    ]
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)]
    made = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("most", "shares")]
    graph = helper.make_graph(nodes, "masked", ends, made)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    most, shares = pipeline.run(model, {"x": x}, level)
    np.testing.assert_array_equal(most, [-np.inf, 1, 3])
    np.testing.assert_allclose(shares[:2], np.array([[np.nan, np.nan], [0, 1]]))


def test_the_cases_are_of_inference_alone() -> None:
    assert len(cases.every()) > 1600
    assert all(cases.is_inference(case.model) for case in cases.every())
