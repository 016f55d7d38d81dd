"""What is taken out of an ONNX graph before TVM sees it: same values, fewer nodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from toolchain.compile.onnx_simplify import simplify
from toolchain.formats import onnx_reference

IMAGE = (1, 3, 9, 9)
PADS = np.array([0, 0, 1, 0, 0, 0, 2, 1])  # before and after each axis, the images' only


def graph(
    nodes: Sequence[onnx.NodeProto], constants: dict[str, npt.NDArray[np.generic]]
) -> onnx.ModelProto:
    made = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, IMAGE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(model: onnx.ModelProto) -> npt.NDArray[np.float32]:
    x = np.random.default_rng(0).standard_normal(IMAGE).astype(np.float32)
    return onnx_reference.run(model, {"x": x})[0]


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def same(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model simplified, after a check that it computes the same."""
    better = simplify(model)
    onnx.checker.check_model(better, full_check=True)
    np.testing.assert_array_equal(run(better), run(model))
    return better


KERNEL = np.random.default_rng(1).standard_normal((4, 3, 3, 3)).astype(np.float32)


@pytest.mark.parametrize("own", [None, [1, 1, 1, 1]])
def test_zero_padding_goes_into_the_convolution(own: list[int] | None) -> None:
    attributes = {} if own is None else {"pads": own}
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["p"]),
        helper.make_node("Conv", ["p", "w"], ["y"], strides=[2, 2], **attributes),
    ]
    better = same(graph(nodes, {"pads": PADS, "w": KERNEL}))
    assert operators(better) == ["Conv"]


@pytest.mark.parametrize(
    ("pads", "fill"),
    [
        (PADS, np.array(1.0, np.float32)),
        (np.array([0, 1, 0, 0, 0, 0, 0, 0]), np.array(0.0, np.float32)),
    ],
)
def test_any_other_padding_stays(
    pads: npt.NDArray[np.int64], fill: npt.NDArray[np.float32]
) -> None:
    channels = 3 + int(pads[1])
    nodes = [
        helper.make_node("Pad", ["x", "pads", "fill"], ["p"]),
        helper.make_node("Conv", ["p", "w"], ["y"]),
    ]
    kernel = np.ones((2, channels, 3, 3), np.float32)
    assert operators(same(graph(nodes, {"pads": pads, "fill": fill, "w": kernel}))) == [
        "Pad",
        "Conv",
    ]


def test_padding_that_another_node_reads_too_stays() -> None:
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["p"]),
        helper.make_node("Conv", ["p", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c", "p"], ["y"]),
    ]
    kernel = np.ones((3, 3, 3, 3), np.float32)
    assert operators(same(graph(nodes, {"pads": PADS, "w": kernel})))[0] == "Pad"


@pytest.mark.parametrize(("before", "left"), [("Relu", 2), ("Neg", 3)])
def test_padding_goes_into_pooling_only_where_nothing_is_negative(before: str, left: int) -> None:
    nodes = [
        helper.make_node(before, ["x"], ["r"]),
        helper.make_node("Pad", ["r", "pads"], ["p"]),
        helper.make_node("MaxPool", ["p"], ["y"], kernel_shape=[3, 3], strides=[2, 2]),
    ]
    assert len(operators(same(graph(nodes, {"pads": PADS})))) == left


def test_a_reshape_to_the_same_shape_goes() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Reshape", ["r", "shape"], ["s"]),
        helper.make_node("Neg", ["s"], ["y"]),
    ]
    assert operators(same(graph(nodes, {"shape": np.array(IMAGE)}))) == ["Relu", "Neg"]


def test_a_reshape_to_another_shape_stays() -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["s"]),
        helper.make_node("Neg", ["s"], ["y"]),
    ]
    assert operators(same(graph(nodes, {"shape": np.array([3, 81])}))) == ["Reshape", "Neg"]


def test_one_number_gets_rank_0_unless_it_decides_the_outputs_rank() -> None:
    nodes = [
        helper.make_node("Mul", ["x", "half"], ["h"]),
        helper.make_node("ReduceSum", ["h", "axes"], ["s"], keepdims=0),
        helper.make_node("Add", ["s", "one"], ["y"]),
    ]
    constants: dict[str, npt.NDArray[np.generic]] = {
        "half": np.full((1, 1, 1, 1), 0.5, np.float32),
        "axes": np.array([1, 2, 3]),
        "one": np.ones((1, 1), np.float32),
    }
    better = same(graph(nodes, constants))
    assert run(better).ndim == 2
    ranks = {t.name: len(t.dims) for t in better.graph.initializer}
    assert ranks[better.graph.node[0].input[1]] == 0
    assert ranks[better.graph.node[2].input[1]] == 2


@pytest.mark.parametrize("scale_first", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_a_scale_of_each_channel_goes_into_the_weights(scale_first: bool, bias: bool) -> None:
    draw = np.random.default_rng(2)
    constants: dict[str, npt.NDArray[np.generic]] = {
        "w": KERNEL,
        "s": draw.standard_normal((1, 4, 1, 1)).astype(np.float32),
        "t": draw.standard_normal((1, 4, 1, 1)).astype(np.float32),
    }
    if bias:
        constants["b"] = draw.standard_normal(4).astype(np.float32)
    model = graph(
        [
            helper.make_node("Conv", ["x", "w", "b"] if bias else ["x", "w"], ["c"]),
            helper.make_node("Mul", ["s", "c"] if scale_first else ["c", "s"], ["m"]),
            helper.make_node("Add", ["m", "t"], ["y"]),
        ],
        constants,
    )
    better = simplify(model)
    onnx.checker.check_model(better, full_check=True)
    assert operators(better) == ["Conv", "Add"]
    np.testing.assert_allclose(run(better), run(model), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1, 1, 7), (4, 7, 7)])
def test_a_factor_that_is_not_one_of_each_channel_stays(shape: tuple[int, ...]) -> None:
    factor = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Mul", ["c", "s"], ["m"]),
        helper.make_node("Relu", ["m"], ["y"]),
    ]
    assert operators(same(graph(nodes, {"w": KERNEL, "s": factor}))) == ["Conv", "Mul", "Relu"]


def test_a_convolution_that_is_used_unscaled_too_keeps_its_weights() -> None:
    scale = np.full((1, 4, 1, 1), 3, np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Mul", ["c", "s"], ["m"]),
        helper.make_node("Add", ["m", "c"], ["y"]),
    ]
    assert operators(same(graph(nodes, {"w": KERNEL, "s": scale}))) == ["Conv", "Mul", "Add"]
