"""Each rule leaves a graph of other operators that computes the same; TVM is not asked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from tests.support.conformance.single_nodes import RANDOM, Array, body, f32, floats, ints, one
from toolchain.compile import onnx_import, operators
from toolchain.compile.importing.preparation import PREPARED, PreparationRequest
from toolchain.compile.importing.preparation_job import prepare_graph
from toolchain.compile.operators.prepare import prepare
from toolchain.core import plugins
from toolchain.core.errors import ModelError
from toolchain.formats import onnx_reference
from toolchain.formats.graphs import onnx_graph

ADDING = body(
    [helper.make_node("Add", ["a", "x"], ["b"]), helper.make_node("Identity", ["c"], ["d"])],
    ["n", "c", "a"],
    ["d", "b"],
)
SUMMING = body(
    [helper.make_node("Add", ["a", "x"], ["b"]), helper.make_node("Identity", ["b"], ["d"])],
    ["a", "x"],
    ["b", "d"],
)
IMAGE, BYTES = floats(1, 2, 5, 6), RANDOM.integers(0, 255, (2, 4)).astype(np.uint8)
SCALE, ZERO = np.array(0.02, np.float32), np.array(120, np.uint8)
HALF = np.array(0.02, np.float16)
BOXES = np.array([[[0, 0, 1, 1], [0.5, 0.5, 1.5, 1.5], [0, 0, 1, 1.1]]], np.float32)
SCORES = np.array([[[0.9, 0.8, -0.5]]], np.float32)
OVER_STEPS = helper.make_model(
    helper.make_graph(
        [
            helper.make_node(
                "QLinearSigmoid", ["x", "s", "z", "t", "u"], ["y"], domain="com.microsoft"
            )
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, BYTES.shape)],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, BYTES.shape)],
        [
            onnx.numpy_helper.from_array(array, name)
            for name, array in {
                "s": SCALE,
                "z": ZERO,
                "t": np.array(1 / 256, np.float32),
                "u": np.array(0, np.uint8),
            }.items()
        ],
    ),
    opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
    ir_version=8,
)
REGIONS = np.array([[0.5, 0.5, 3, 4], [-2, 1, 9, 3]], np.float32)

CASES: dict[str, tuple[onnx.ModelProto, Mapping[str, Array]]] = {
    "axes": one("Unsqueeze", {"x": floats(2, 3)}, {"a": np.array(1)}),
    "bit_casts": one("BitCast", {"x": BYTES}, opset=26, to=TensorProto.INT8),
    "bit_shifts, left": one(
        "BitShift", {"x": BYTES[0], "n": np.array([0, 7, 8, 9], np.uint8)}, direction="LEFT"
    ),
    "bit_shifts, right": one(
        "BitShift",
        {"x": np.array([-8, 4, -1], np.int32), "n": np.array([-1, 32, 1], np.int32)},
        opset=28,
        direction="RIGHT",
    ),
    "blocked_scales": one(
        "DequantizeLinear", {"x": BYTES}, {"s": floats(2, 2)}, axis=1, block_size=2
    ),
    "bool_extrema": one("ReduceMax", {"x": floats(3, 4) > 0}, {"a": ints(1)}, opset=20, keepdims=0),
    "col2im": one("Col2Im", {"x": floats(1, 8, 6)}, {"s": ints(3, 4), "k": ints(2, 2)}, opset=18),
    "control_flow, If": one(
        "If",
        {"x": floats(2)},
        {"c": np.array(True)},
        order="c",
        then_branch=body([helper.make_node("Neg", ["x"], ["t"])], [], ["t"]),
        else_branch=body([helper.make_node("Abs", ["x"], ["e"])], [], ["e"]),
    ),
    "control_flow, Loop": one(
        "Loop",
        {"x": floats(2)},
        {"n": np.array(3), "c": np.array(True), "s": floats(2)},
        order="n c s",
        body=ADDING,
    ),
    "control_flow, Scan": one(
        "Scan",
        {"x": floats(3, 2)},
        {"s": floats(2)},
        order="s x",
        outputs=2,
        num_scan_inputs=1,
        body=SUMMING,
    ),
    "cumulative_products": one("CumProd", {"x": floats(2, 4)}, {"a": np.array(1)}, opset=26),
    "deformable": one(
        "DeformConv",
        {"x": floats(1, 4, 5, 5), "o": floats(1, 2 * 2 * 4, 4, 4), "m": floats(1, 2 * 4, 4, 4)},
        {"w": floats(6, 2, 2, 2), "b": floats(6)},
        order="x w o b m",
        group=2,
        offset_group=2,
        kernel_shape=[2, 2],
        opset=22,
    ),
    "determinant": one("Det", {"x": floats(2, 3, 3)}),
    "dropout": one("Dropout", {"x": floats(2, 3)}, outputs=2),
    "elu": one("Elu", {"x": floats(2, 3).astype(np.float64)}, alpha=0.5),
    "empty_parts, Concat": one("Concat", {"x": floats(2, 3)}, {"e": floats(0, 3)}, axis=0),
    "empty_parts, Split": one(
        "Split", {"x": floats(3, 2)}, {"s": ints(0, 2, 1)}, outputs=3, axis=0
    ),
    "eye_like": one("EyeLike", {"x": floats(3, 4)}, k=1),
    "fourier, DFT": one("DFT", {"x": floats(1, 8, 1)}, onesided=1, axis=1, opset=17),
    "fourier, STFT": one(
        "STFT", {"x": floats(1, 16)}, {"s": np.array(4), "w": floats(8)}, order="x s w"
    ),
    "hyperbolic, Sinh": one("Sinh", {"x": floats(2, 3)}),
    "hyperbolic, Cosh": one("Cosh", {"x": floats(2, 3)}),
    "infinities": one("IsInf", {"x": f32(np.inf, -np.inf, 1)}, detect_negative=0),
    "integer_products, ConvInteger": one(
        "ConvInteger",
        {"x": BYTES.reshape(1, 1, 2, 4), "w": BYTES.reshape(2, 1, 2, 2)},
        {"z": ZERO, "u": ZERO},
    ),
    "integer_products, MatMulInteger": one(
        "MatMulInteger", {"a": BYTES, "b": BYTES.T.copy()}, {"z": ZERO}
    ),
    "integer_products, QLinearMatMul": one(
        "QLinearMatMul",
        {"a": BYTES, "b": BYTES.T.copy()},
        {"s": SCALE, "z": ZERO},
        order="a s z b s z s z",
    ),
    "integer_products, QLinearMatMul of halves": one(
        "QLinearMatMul",
        {"a": BYTES, "b": BYTES.T.copy()},
        {"s": HALF, "z": ZERO},
        order="a s z b s z s z",
    ),
    "layer_normalization": one(
        "LayerNormalization", {"x": floats(2, 3, 4)}, {"g": floats(4)}, outputs=3, axis=1
    ),
    "lp_normalization": one("LpNormalization", {"x": floats(2, 3)}, p=1),
    "one_hot": one("OneHot", {"i": ints(0, -1, 5)}, {"d": np.array(4), "v": floats(2)}),
    "pooled_places": one(
        "MaxPool", {"x": IMAGE}, outputs=2, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1]
    ),
    "pooled_places, columns first": one(
        "MaxPool",
        {"x": IMAGE},
        outputs=2,
        kernel_shape=[2, 2],
        auto_pad="SAME_LOWER",
        storage_order=1,
    ),
    "powers": one("Pow", {"x": floats(2, 3)}, {"e": ints(2, 3, 2)}),
    "recurrent, GRU": one(
        "GRU",
        {"x": floats(3, 2, 4)},
        {"w": floats(2, 9, 4), "r": floats(2, 9, 3)},
        outputs=2,
        hidden_size=3,
        direction="bidirectional",
    ),
    "recurrent, LSTM": one(
        "LSTM",
        {"x": floats(3, 2, 4), "h": floats(1, 2, 3), "c": floats(1, 2, 3)},
        {"w": floats(1, 12, 4), "r": floats(1, 12, 3), "b": floats(1, 24)},
        order="x w r b _ h c",
        outputs=3,
        hidden_size=3,
    ),
    "recurrent, RNN": one(
        "RNN",
        {"x": floats(3, 2, 4)},
        {"w": floats(1, 3, 4), "r": floats(1, 3, 3)},
        outputs=2,
        hidden_size=3,
        direction="reverse",
    ),
    "regions": one(
        "RoiAlign",
        {"x": IMAGE, "r": REGIONS},
        {"i": ints(0, 0)},
        mode="max",
        output_height=2,
        output_width=3,
        sampling_ratio=2,
    ),
    "remainders": one("Mod", {"x": f32(-3, 3, 5, -1), "y": f32(np.inf, -2, 3, np.inf)}, opset=28),
    "resize, linear": one(
        "Resize", {"x": IMAGE}, {"s": f32(1, 1, 0.6, 1.7)}, order="x _ s", mode="linear"
    ),
    "resize, nearest": one(
        "Resize",
        {"x": IMAGE},
        {"s": ints(1, 2, 7, 9)},
        order="x _ _ s",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    ),
    "rounded_recurrent": one(
        "DynamicQuantizeLSTM",
        # on the grid of its own range, so that ONNX Runtime's rounding of it is none
        {"x": f32(0, 255, 17, 90, 201, 64, 3, 128).reshape(1, 2, 4) / 255},
        {
            "w": RANDOM.integers(-128, 127, (2, 4, 12)).astype(np.int8),
            "r": RANDOM.integers(-128, 127, (2, 3, 12)).astype(np.int8),
            "b": floats(2, 24),
            "ws": f32(0.01, 0.02),
            "wz": np.array([3, -4], np.int8),
            "rs": f32(0.01, 0.02),
            "rz": np.array([0, 0], np.int8),
        },
        order="x w r b _ _ _ _ ws wz rs rz",
        outputs=3,
        opset=17,
        domain="com.microsoft",
        direction="bidirectional",
        hidden_size=3,
    ),
    "reversed_sequences": one("ReverseSequence", {"x": floats(4, 3)}, {"n": ints(1, 4, 2)}),
    "space_to_depth": one(
        "SpaceToDepth", {"x": floats(1, 2, 4, 6)}, opset=28, blocksize=2, mode="CRD"
    ),
    "suppression": one(
        "NonMaxSuppression",
        {"b": BOXES, "s": SCORES},
        {"m": ints(3), "o": f32(1 / 7)},
    ),
    "tensor_scatter": one(
        "TensorScatter", {"x": floats(2, 4, 2), "u": floats(2, 2, 2)}, {"i": ints(1, 2)}, opset=24
    ),
    "tiles": one("Tile", {"x": floats(2, 3, 4)}, {"r": ints(3, 1, 5)}),
    "top_k": one(
        "TopK",
        {"x": np.array([[3, -1, 2, 9]], np.int16)},
        {"k": ints(2)},
        outputs=2,
        opset=24,
    ),
    "rounded_operators": (OVER_STEPS, {"x": BYTES}),
    "transposed_shape": one(
        "ConvTranspose",
        {"x": floats(1, 1, 3, 3), "w": floats(1, 2, 3, 3)},
        output_shape=[10, 8],
        strides=[3, 2],
        output_padding=[1, 1],
    ),
}
KEEP_THEIR_OPERATOR = {"axes", "bit_shifts, left", "bit_shifts, right", "bool_extrema",
                       "empty_parts, Concat", "pooled_places", "pooled_places, columns first",
                       "powers", "remainders", "suppression", "top_k",
                       "transposed_shape"}  # fmt: skip


def run(model: onnx.ModelProto, inputs: Mapping[str, Array]) -> list[Array]:
    """What a graph gives by ONNX Runtime, or, where it is too old for that, by ONNX's reference."""
    try:
        return [np.asarray(value) for value in onnx_reference.run(model, inputs)]
    except Exception:  # noqa: BLE001 # ONNX Runtime's exceptions share no public base
        results: Any = ReferenceEvaluator(model).run(None, dict(inputs))
        return [np.asarray(value) for value in results]


@pytest.mark.parametrize("case", CASES)
def test_a_rule_computes_the_same_in_other_operators(case: str) -> None:
    model, inputs = CASES[case]
    prepared = prepare(model)
    left = {node.op_type for node in prepared.graph.node}
    assert case in KEEP_THEIR_OPERATOR or model.graph.node[0].op_type not in left
    for found, right in zip(run(prepared, inputs), run(model, inputs), strict=True):
        assert (found.dtype, found.shape) == (right.dtype, right.shape)
        np.testing.assert_allclose(found.astype(float), right.astype(float), rtol=2e-3, atol=1e-5)


def test_each_rule_has_a_case() -> None:
    modules = plugins.modules(operators, operators.KIND)
    rules = {
        module.__name__.rpartition(".")[2] for module in modules if hasattr(module, "OPERATORS")
    }
    assert rules - {case.partition(",")[0] for case in CASES} == set()


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (one("BitCast", {"x": floats(2)}, opset=26, to=TensorProto.INT32), "to = INT32"),
        (one("NonMaxSuppression", {"b": BOXES, "s": SCORES, "m": ints(3)}), "max_output_boxes"),
        (
            one(
                "MaxUnpool",
                {"x": floats(1, 1, 2, 2), "i": ints(5, 7, 13, 15).reshape(1, 1, 2, 2)},
                {"s": ints(1, 1, 5, 5)},
                kernel_shape=[2, 2],
                strides=[2, 2],
            ),
            "output_shape",
        ),
        (one("TopK", {"x": BYTES.astype(np.uint64)}, {"k": ints(1)}, outputs=2), "UINT64"),
        (
            one("RoiAlign", {"x": IMAGE, "r": REGIONS}, {"i": ints(0, 0)}, mode="max"),
            "sampling_ratio",
        ),
    ],
)
def test_what_cannot_be_right_is_refused_by_operator_node_and_attribute(
    model: tuple[onnx.ModelProto, Mapping[str, Array]], reason: str
) -> None:
    operator = model[0].graph.node[0].op_type
    with pytest.raises(ModelError, match=operator) as caught:
        prepare(model[0])
    assert "the_node" in caught.value.detail
    assert reason in caught.value.detail


def test_what_reads_the_boxes_that_are_chosen_is_refused_by_their_operator() -> None:
    """TVM compiles it for all of them."""
    model, _ = one("NonMaxSuppression", {"b": BOXES, "s": SCORES}, {"m": ints(3)})
    chosen = model.graph.node[0].output[0]
    model.graph.node.append(helper.make_node("Cast", [chosen], ["y"], to=TensorProto.INT32))
    model.graph.output.append(helper.make_tensor_value_info("y", TensorProto.INT32, None))
    with pytest.raises(ModelError, match="NonMaxSuppression") as caught:
        prepare(model)
    assert f"the_node: Cast reads {chosen}" in caught.value.detail


def test_an_output_without_elements_that_tvm_cannot_hold_is_refused() -> None:
    model, _ = one("Reshape", {"x": floats(0, 3)}, {"s": ints(3, 0)}, allowzero=1)
    with pytest.raises(ModelError, match="Reshape") as caught:
        prepare(model)
    assert "the_node: output y0 has the shape [3, 0], without elements" in caught.value.detail
    model, _ = one("Reshape", {"x": floats(0, 3)}, {"s": ints(0, 3)}, allowzero=1)
    assert prepare(model).graph.output[0].name == "y0"


def test_max_and_sum_of_several_are_no_stack_in_memory() -> None:
    for operator, relax_operator in (("Max", "R.maximum"), ("Mean", "R.add")):
        inputs = {"a": floats(2, 3), "b": floats(3), "c": np.array(1, np.float32)}
        model, _ = one(operator, inputs)
        text = onnx_import.from_onnx(prepare(model)).script()
        assert "R.stack" not in text
        assert text.count(relax_operator) == 2


def test_a_layer_of_an_old_opset_is_sliced_as_the_importer_reads_it() -> None:
    """Before opset 10 a Slice has its bounds as attributes, which TVM imports none of."""
    model, inputs = one(
        "GRU", {"x": floats(3, 1, 4)}, {"w": floats(1, 6, 4), "r": floats(1, 6, 2)},
        opset=9, hidden_size=2,
    )  # fmt: skip
    prepared = prepare(model)
    slices = [node for node in prepared.graph.node if node.op_type == "Slice"]
    assert slices
    assert all(len(node.input) == 4 and not node.attribute for node in slices)
    for found, right in zip(run(prepared, inputs), run(model, inputs), strict=True):
        np.testing.assert_allclose(found, right, rtol=2e-3, atol=1e-5)


def test_what_rounds_in_its_source_is_judged_so_when_it_is_taken_apart(tmp_path: Path) -> None:
    model, _ = CASES["rounded_recurrent"]
    file = tmp_path / "net.onnx"
    onnx.save(model, file)
    prepare_graph(PreparationRequest(onnx=file, folder=tmp_path), lambda _: None)
    prepared = onnx.load(tmp_path / PREPARED)
    assert "DynamicQuantizeLSTM" not in {node.op_type for node in prepared.graph.node}
    assert onnx_graph.rounds(prepared)
    plain, _ = CASES["axes"]
    onnx.save(plain, file)
    prepare_graph(PreparationRequest(onnx=file, folder=tmp_path), lambda _: None)
    assert not onnx_graph.rounds(onnx.load(tmp_path / PREPARED))
