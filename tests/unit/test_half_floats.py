"""Graphs of 16-bit floats in float32: the same ends, the same values without the rounding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from toolchain.compile.operators.prepare import prepare
from toolchain.formats import half_floats, onnx_reference
from toolchain.formats.graphs import onnx_graph

FLOAT, HALF, BRAIN = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16
RNG = np.random.default_rng(5)
WEIGHTS = (RNG.standard_normal((6, 3, 3, 3)) * 0.4).astype(np.float16)
X = RNG.standard_normal((1, 3, 8, 8)).astype(np.float32)

node = helper.make_node


def graph(
    nodes: list[onnx.NodeProto],
    ends: tuple[int, int],
    weights: dict[str, npt.NDArray[Any]] | None = None,
    shape: tuple[int, ...] = X.shape,
    functions: list[onnx.FunctionProto] | None = None,
) -> onnx.ModelProto:
    """A graph of x and y, of the element types of its two ends."""
    made = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", ends[0], shape)],
            [helper.make_tensor_value_info("y", ends[1], None)],
            [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
        ),
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("own", 1)],
        functions=functions or [],
    )
    made.ir_version = 9
    return onnx.shape_inference.infer_shapes(made)


def float_ends() -> onnx.ModelProto:
    """As converters to float16 write a network: float32 at both ends, float16 between."""
    return graph(
        [
            node("Cast", ["x"], ["h"], to=HALF),
            node("Conv", ["h", "w"], ["c"]),
            node("Sigmoid", ["c"], ["s"]),
            node("Mul", ["c", "s"], ["m"]),
            node("Cast", ["m"], ["y"], to=FLOAT),
        ],
        (FLOAT, FLOAT),
        {"w": WEIGHTS},
    )


def half_ends() -> onnx.ModelProto:
    """The same with float16 at both ends."""
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("Sigmoid", ["c"], ["s"]),
        node("Mul", ["c", "s"], ["y"]),
    ]
    return graph(nodes, (HALF, HALF), {"w": WEIGHTS})


def expected(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """What the weights say of a rounded picture, in float64."""
    windows = np.lib.stride_tricks.sliding_window_view(x[0].astype(np.float64), (3, 3), axis=(1, 2))
    c = np.einsum("cyxij,ocij->oyx", windows, WEIGHTS.astype(np.float64))[None]
    return np.asarray(c / (1 + np.exp(-c)))


def types(model: onnx.ModelProto) -> set[int]:
    """The element types of all that a graph computes."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    return {value.type.tensor_type.elem_type for value in inferred.value_info}


def test_a_network_with_float32_ends_is_computed_without_rounding() -> None:
    model = half_floats.widened(float_ends())
    onnx.checker.check_model(model, full_check=True)
    (found,) = onnx_reference.run(float_ends(), {"x": X})
    assert np.abs(found - expected(X.astype(np.float16))).max() < 2e-6
    (rounded,) = ReferenceEvaluator(float_ends()).run(None, {"x": X})
    assert np.abs(rounded - found).max() > 1e-4


def test_ends_keep_their_types() -> None:
    model = half_floats.widened(half_ends())
    onnx.checker.check_model(model, full_check=True)
    assert [v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)] == [
        HALF,
        HALF,
    ]
    assert types(model) == {FLOAT}
    half = X.astype(np.float16)
    (found,) = onnx_reference.run(half_ends(), {"x": half})
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, expected(half).astype(np.float16))


def test_the_graph_that_is_compiled_has_no_arithmetic_in_16_bits() -> None:
    for model in (float_ends(), half_ends()):
        prepared = prepare(model)
        casts = {name for n in prepared.graph.node if n.op_type == "Cast" for name in n.output}
        left = [
            value.name
            for value in onnx.shape_inference.infer_shapes(prepared).graph.value_info
            if value.type.tensor_type.elem_type != FLOAT and value.name not in casts
        ]
        assert left == []
        assert onnx_graph.arithmetic(prepared) == "float16"


def test_weights_that_are_only_stored_in_16_bits_change_nothing() -> None:
    nodes = [node("Cast", ["w"], ["f"], to=FLOAT), node("Conv", ["x", "f"], ["y"])]
    model = graph(nodes, (FLOAT, FLOAT), {"w": WEIGHTS})
    assert half_floats.widened(model) is model
    assert half_floats.kind(model) == ""
    assert onnx_graph.arithmetic(model) == "float32"


def test_a_cast_rounds_as_it_did() -> None:
    nodes = [
        node("Cast", ["x"], ["b"], to=BRAIN),
        node("Add", ["b", "b"], ["d"]),
        node("Cast", ["d"], ["y"], to=FLOAT),
    ]
    model = graph(nodes, (FLOAT, FLOAT))
    assert half_floats.kind(model) == "bfloat16"
    (found,) = onnx_reference.run(model, {"x": X})
    np.testing.assert_array_equal(found, 2 * X.astype(ml_dtypes.bfloat16).astype(np.float32))


def test_inner_graphs_and_functions_are_widened() -> None:
    def body(name: str, operator: str) -> onnx.GraphProto:
        out = helper.make_tensor_value_info(f"{name}_out", HALF, None)
        return helper.make_graph([node(operator, ["h"], [f"{name}_out"])], name, [], [out])

    doubled = helper.make_function(
        "own",
        "Double",
        ["a"],
        ["b"],
        [node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 18)],
    )
    nodes = [
        node("Cast", ["x"], ["h"], to=HALF),
        node("ReduceMax", ["h"], ["largest"], keepdims=0),
        node("Greater", ["largest", "zero"], ["some"]),
        node("If", ["some"], ["i"], then_branch=body("t", "Relu"), else_branch=body("e", "Neg")),
        node("Double", ["i"], ["d"], domain="own"),
        node("Cast", ["d"], ["y"], to=FLOAT),
    ]
    zero = {"zero": np.zeros((), np.float16)}
    model = graph(nodes, (FLOAT, FLOAT), zero, functions=[doubled])
    wide = half_floats.widened(model)
    onnx.checker.check_model(wide, full_check=True)
    bodies = [a.g for n in wide.graph.node for a in n.attribute if a.HasField("g")]
    assert {v.type.tensor_type.elem_type for b in bodies for v in b.output} == {FLOAT}
    (found,) = onnx_reference.run(model, {"x": X})
    np.testing.assert_array_equal(found, 2 * np.maximum(X.astype(np.float16), 0).astype(np.float32))


@pytest.mark.parametrize("opset", [18, 21])
def test_types_that_nodes_name_follow(opset: int) -> None:
    nodes = [
        node("Cast", ["x"], ["h"], to=HALF),
        node("LayerNormalization", ["h", "g"], ["n"], axis=-1, stash_type=HALF),
        node("EyeLike", ["square"], ["e"], dtype=HALF),
        node("MatMul", ["n", "e"], ["y"]),
    ]
    weights: dict[str, npt.NDArray[Any]] = {
        "g": np.ones(8, np.float16),
        "square": np.zeros((8, 8), np.float32),
    }
    model = graph(nodes, (FLOAT, HALF), weights)
    model.opset_import[0].version = opset
    wide = half_floats.widened(model)
    onnx.checker.check_model(wide, full_check=True)
    assert types(wide) <= {FLOAT, HALF}
    (found,) = onnx_reference.run(model, {"x": X})
    assert found.dtype == np.float16


# Keras' own, of TensorFlow's variables, when it saves and copies weights
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
def test_a_keras_model_of_a_mixed_policy_computes_as_its_weights_are_kept(tmp_path: Path) -> None:
    import keras

    from toolchain.formats import keras_file

    layers = keras.layers
    inner = keras.Sequential(
        [layers.Input((8, 8, 4)), layers.Conv2D(4, 3, dtype="mixed_float16")], name="inner"
    )
    x = layers.Input((8, 8, 3))
    y = inner(layers.Conv2D(4, 1, dtype="mixed_bfloat16")(x))
    y = layers.Activation("softmax", dtype="float32")(layers.Flatten(dtype="float16")(y))
    model = keras.Model(x, y)
    model.save(tmp_path / "mixed.keras")
    read = keras_file.read(tmp_path / "mixed.keras")
    assert {layer.compute_dtype for layer in read._flatten_layers()} == {"float32"}
    for ours, theirs in zip(read.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    picture = X.transpose(0, 2, 3, 1)
    found, rounded = (one(picture).numpy() for one in (read, model))
    assert 0 < np.abs(found - rounded).max() < 0.02
