"""Each operator between Q and DQ, and ONNX Runtime's own over steps, as ONNX defines them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import tvm
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from tvm import relax

from tests.support.networks import NEON, VECTORS, X86
from toolchain.compile import compilation_job, onnx_import, onnx_simplify, pipeline
from toolchain.compile.operators.prepare import prepare
from toolchain.formats import onnx_reference

Array = npt.NDArray[Any]
DOTS: dict[str, object] = {**NEON, "mcpu": "cortex-a76", "mattr": ["+neon", "+dotprod"]}
TARGETS: dict[str, Mapping[str, object]] = {
    "x86": X86,
    "rvv": VECTORS,
    "neon": NEON,
    "dot products": DOTS,
}
SAME, WITHIN = 0.99, 1  # of a step, of the output's own scale
IMAGE, ROWS = (2, 8, 9, 7), (3, 18)
OPSET = 19  # the first whose Q and DQ the evaluator has
EMPTY = np.zeros(0, np.float32)
KINDS = ("int8", "uint8")
SPREAD = 16  # values of an output that says something


def drawn(*shape: int, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


class Case:
    """A graph of float32 inputs that are rounded, an operator, and its rounded output.

    Args:
        operator: of ONNX.
        shapes: of its inputs, in order.
        attributes: of it.
        weights: constants that follow them: [name, value, axis of the scales or None].
        others: constants of float32 or int64 that follow those.
        bias: whether a bias of int32 follows.
    """

    def __init__(
        self,
        operator: str,
        *shapes: tuple[int, ...],
        attributes: Mapping[str, Any] | None = None,
        weights: tuple[int, ...] = (),
        axis: int | None = None,
        bias: int = 0,
        others: Sequence[Array] = (),
        outputs: int = 1,
    ) -> None:
        self.operator, self.shapes, self.attributes = operator, shapes, dict(attributes or {})
        self.weights, self.axis, self.bias, self.others = weights, axis, bias, others
        self.outputs = outputs

    def model(self, kind: str) -> onnx.ModelProto:
        zero = {"int8": -7, "uint8": 121}[kind]
        constants: dict[str, Array] = {
            "s": np.array(0.031, np.float32), "z": np.array(zero, kind),
            "t": np.array(0.027, np.float32), "u": np.array(zero + 5, kind),
        }  # fmt: skip
        nodes, given = [], []
        for n in range(len(self.shapes)):
            nodes += steps(f"x{n}", f"r{n}", "s", "z")
            given.append(f"r{n}")
        if self.weights:
            of = self.weights
            channels = 1 if self.axis is None else of[self.axis]
            scale = (0.002 + 0.01 * np.abs(drawn(channels))).astype(np.float32)
            constants["w"] = np.clip(drawn(*of, seed=1) * 50, -127, 127).astype(np.int8)
            constants["ws"] = scale if self.axis is not None else scale.reshape(())
            constants["wz"] = np.zeros(constants["ws"].shape, np.int8)
            nodes.append(
                helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wr"], axis=self.axis)
            )
            given.append("wr")
            if self.bias:
                constants["b"] = (drawn(self.bias, seed=2) * 900).astype(np.int32)
                constants["bs"] = (constants["ws"] * constants["s"]).astype(np.float32)
                axis = 0 if self.axis is not None else None
                nodes.append(helper.make_node("DequantizeLinear", ["b", "bs"], ["br"], axis=axis))
                given.append("br")
        for n, other in enumerate(self.others):
            constants[f"o{n}"] = other
            given.append(f"o{n}")
        made = [f"m{n}" for n in range(self.outputs)]
        nodes.append(helper.make_node(self.operator, given, made, **self.attributes))
        for n, name in enumerate(made):
            nodes += steps(name, f"y{n}", "t", "u")
        inputs = [
            helper.make_tensor_value_info(f"x{n}", TensorProto.FLOAT, shape)
            for n, shape in enumerate(self.shapes)
        ]
        return graph_of(nodes, inputs, [f"y{n}" for n in range(self.outputs)], constants)


def steps(name: str, to: str, scale: str, zero: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("QuantizeLinear", [name, scale, zero], [f"{to}_steps"]),
        helper.make_node("DequantizeLinear", [f"{to}_steps", scale, zero], [to]),
    ]


def graph_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[str],
    constants: Mapping[str, Array],
    kind: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "g", inputs, [helper.make_tensor_value_info(n, kind, None) for n in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    sets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=sets, ir_version=9)


def computed(
    model: onnx.ModelProto, feeds: Mapping[str, Array], kind: Mapping[str, object], level: int = 3
) -> list[Array]:
    """What it gives, lowered for a target and scheduled for this machine."""
    graph = onnx_simplify.simplify(prepare(model))
    lowered = pipeline.lower(onnx_import.from_onnx(graph), tvm.target.Target(dict(kind)), level)
    here = compilation_job.host_target()
    scheduled, _ = pipeline.schedule(lowered, here, level)
    machine = relax.VirtualMachine(pipeline.build(scheduled, here), tvm.cpu())
    given = [tvm.runtime.tensor(feeds[value.name]) for value in model.graph.input]
    found = machine["main"](*given)
    return [one.numpy() for one in ([found] if hasattr(found, "numpy") else found)]


def conv(*of: int, axis: int | None = 0, shape: tuple[int, ...] = IMAGE, **said: Any) -> Case:
    return Case("Conv", shape, attributes=said, weights=of, axis=axis, bias=of[0])


def one(operator: str, *others: Array, shape: tuple[int, ...] = IMAGE, **said: Any) -> Case:
    return Case(operator, shape, attributes=said, others=others)


CASES = {
    "Conv, a scale a channel": conv(16, 8, 3, 3, pads=[1, 1, 1, 1]),
    "Conv, one scale": conv(16, 8, 3, 3, axis=None, strides=[2, 2], pads=[0, 1, 1, 0]),
    "Conv, 1x1": conv(12, 8, 1, 1),
    "Conv, dilated": conv(8, 8, 3, 3, dilations=[2, 2], pads=[2, 2, 2, 2]),
    "Conv, two groups": conv(16, 4, 3, 3, group=2),
    "Conv, depthwise": conv(8, 1, 3, 3, group=8, pads=[1, 1, 1, 1]),
    "Conv, depthwise, twice": conv(16, 1, 3, 3, group=8, strides=[2, 1]),
    "Conv, sums beyond 2^24": conv(4, 900, 3, 3, shape=(1, 900, 4, 4)),
    "Conv, one row": conv(6, 8, 3, shape=(1, 8, 20)),
    "ConvTranspose": Case(
        "ConvTranspose", IMAGE, weights=(8, 4, 2, 2), attributes={"strides": [2, 2]}
    ),
    "Gemm": Case("Gemm", ROWS, weights=(18, 8), axis=1, bias=8),
    "Gemm, transposed": Case(
        "Gemm", ROWS, weights=(8, 18), axis=0, bias=8, attributes={"transB": 1}
    ),
    "MatMul": Case("MatMul", (2, 3, 18), weights=(18, 8), axis=1),
    "MatMul, one scale": Case("MatMul", (2, 3, 18), weights=(18, 8)),
    "MatMul of two": Case("MatMul", (2, 3, 18), (2, 18, 5)),
    "Add": Case("Add", IMAGE, IMAGE),
    "Add, spread": Case("Add", IMAGE, (1, 8, 1, 1)),
    "Sub": Case("Sub", IMAGE, IMAGE),
    "Mul": Case("Mul", IMAGE, IMAGE),
    "Max": Case("Max", IMAGE, IMAGE),
    "Concat": Case("Concat", IMAGE, IMAGE, attributes={"axis": 1}),
    "MaxPool": one("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "AveragePool": one("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "GlobalAveragePool": one("GlobalAveragePool"),
    "ReduceMean": one("ReduceMean", np.array([2, 3]), keepdims=1),
    "Relu": one("Relu"),
    "Clip": one("Clip", np.array(0, np.float32), np.array(2.5, np.float32)),
    "LeakyRelu": one("LeakyRelu", alpha=0.1),
    "PRelu": one("PRelu", np.full((8, 1, 1), 0.2, np.float32)),
    "Sigmoid": one("Sigmoid"),
    "Tanh": one("Tanh"),
    "HardSigmoid": one("HardSigmoid", alpha=1 / 6, beta=0.5),
    "HardSwish": one("HardSwish"),
    "Erf": one("Erf"),
    "Exp": one("Exp"),
    "Softmax": one("Softmax", shape=ROWS, axis=-1),
    "Reshape": one("Reshape", np.array([2, -1])),
    "Transpose": one("Transpose", perm=[0, 2, 3, 1]),
    "Flatten": one("Flatten"),
    "Squeeze": one("Squeeze", np.array([0]), shape=(1, 4, 5)),
    "Slice": one("Slice", np.array([1]), np.array([5]), np.array([2])),
    "Split": Case("Split", IMAGE, attributes={"axis": 1}, others=[np.array([3, 5])], outputs=2),
    "Pad": one("Pad", np.array([0, 0, 1, 1, 0, 0, 1, 1])),
    "Resize": one("Resize", EMPTY, np.array([1, 1, 2, 2], np.float32), mode="nearest"),
    "DepthToSpace": one("DepthToSpace", blocksize=2),
    "Gather": one("Gather", np.array([1, 0, 1]), axis=1),
}  # fmt: skip


def feeds(model: onnx.ModelProto) -> dict[str, Array]:
    return {
        value.name: 1.5 * drawn(*[d.dim_value for d in value.type.tensor_type.shape.dim], seed=n)
        for n, value in enumerate(model.graph.input)
    }


def assert_steps(found: Sequence[Array], wanted: Sequence[Array], scale: float) -> None:
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.shape == theirs.shape
        difference = np.abs(ours.astype(np.float64) - theirs) / scale
        assert difference.max() < WITHIN + 0.01
        assert (difference < 0.01).mean() >= SAME


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CASES)
def test_an_operator_between_steps_is_what_onnx_defines(name: str, kind: str) -> None:
    model = CASES[name].model(kind)
    given = feeds(model)
    wanted = ReferenceEvaluator(model).run(None, given)
    assert_steps(computed(model, given, X86), wanted, 0.027)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", [n for n in CASES if n.startswith(("Conv", "Gemm", "MatMul"))])
def test_products_are_the_same_however_a_target_adds_them(name: str, target: str) -> None:
    model = CASES[name].model("uint8")
    given = feeds(model)
    wanted = ReferenceEvaluator(model).run(None, given)
    assert_steps(computed(model, given, TARGETS[target]), wanted, 0.027)


A, B, Y = ["a", "s", "z"], ["b", "s", "z"], ["t", "u"]
OVER_STEPS: dict[str, tuple[list[str], dict[str, Any], tuple[int, ...]]] = {
    "QLinearAdd": ([*A, *B, *Y], {}, IMAGE),
    "QLinearMul": ([*A, *B, *Y], {}, IMAGE),
    "QLinearConcat": ([*Y, *A, *B], {"axis": 1}, IMAGE),
    "QLinearLeakyRelu": ([*A, *Y], {"alpha": 0.2}, IMAGE),
    "QLinearSigmoid": ([*A, *Y], {}, IMAGE),
    "QLinearAveragePool": ([*A, *Y], {"kernel_shape": [2, 2], "strides": [2, 2]}, IMAGE),
    "QLinearGlobalAveragePool": ([*A, *Y], {}, IMAGE),
    "QLinearSoftmax": ([*A, *Y], {"axis": 1, "opset": 12}, IMAGE),
    "QLinearWhere": (["c", *A, *B, *Y], {}, IMAGE),
    "QGemm": ([*A, "w", "ws", "wz", "bias", *Y], {"transB": 1, "alpha": 1.0}, ROWS),
    "QGemm, of floats": ([*A, "w", "ws", "wz", "bias"], {"transB": 1}, ROWS),
}


@pytest.mark.parametrize("name", OVER_STEPS)
def test_onnx_runtimes_operators_over_steps_are_theirs(name: str) -> None:
    inputs, said, shape = OVER_STEPS[name]
    operator, _, _ = name.partition(",")
    node = helper.make_node(operator, inputs, ["y"], domain="com.microsoft", **said)
    floats = name.endswith("floats")
    random = np.random.default_rng(3)
    constants: dict[str, Array] = {
        "s": np.array(0.031, np.float32), "z": np.array(121, np.uint8),
        "t": np.array(0.027, np.float32), "u": np.array(100, np.uint8),
        "w": random.integers(-60, 60, (8, 18)).astype(np.int8), "wz": np.zeros(8, np.int8),
        "ws": (0.002 + 0.01 * np.abs(drawn(8))).astype(np.float32),
        "bias": random.integers(-900, 900, 8).astype(np.int32),
        "c": random.integers(0, 2, shape).astype(bool),
    }  # fmt: skip
    used = {key: value for key, value in constants.items() if key in inputs}
    values = [
        helper.make_tensor_value_info(key, TensorProto.UINT8, shape)
        for key in ("a", "b")
        if key in inputs
    ]
    kind = TensorProto.FLOAT if floats else TensorProto.UINT8
    model = graph_of([node], values, ["y"], used, kind)
    given = {v.name: random.integers(0, 256, shape).astype(np.uint8) for v in values}
    wanted = onnx_reference.run(model, given)
    assert_steps(computed(model, given, X86), wanted, 1e-4 if floats else 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("operator", ["QLinearAdd", "QLinearMul"])
def test_a_zero_point_that_is_left_out_is_of_the_inputs_type(operator: str, kind: str) -> None:
    nodes = [  # what the second is given has no known type until the first is replaced
        helper.make_node(operator, [*A, *B, "s"], ["m"], domain="com.microsoft"),
        helper.make_node("QLinearSigmoid", ["m", "s", "", "t", ""], ["y"], domain="com.microsoft"),
    ]
    constants = {
        "s": np.array(0.031, np.float32), "z": np.zeros((), kind),
        "t": np.array(1 / 255, np.float32),
    }  # fmt: skip
    element, limits = helper.np_dtype_to_tensor_dtype(np.dtype(kind)), np.iinfo(kind)
    values = [helper.make_tensor_value_info(name, element, IMAGE) for name in ("a", "b")]
    model = graph_of(nodes, values, ["y"], constants, element)
    random = np.random.default_rng(4)
    given = {
        value.name: random.integers(limits.min, limits.max + 1, IMAGE).astype(kind)
        for value in values
    }
    wanted = onnx_reference.run(model, given)
    assert len(np.unique(wanted[0])) > SPREAD
    assert_steps(computed(model, given, X86), wanted, 1)


@pytest.mark.parametrize("mean", [127.5, 300.0])
def test_pixels_less_a_mean_that_is_no_step_are_no_steps(mean: float) -> None:
    nodes = [
        helper.make_node("Cast", ["x0"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["pixels", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "share"], ["image"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["weights"], axis=0),
        helper.make_node("Conv", ["image", "weights"], ["y"], pads=[1, 1, 1, 1]),
    ]
    random = np.random.default_rng(2)
    constants: dict[str, Array] = {
        "mean": np.array(mean, np.float32), "share": np.array(1 / 64, np.float32),
        "w": random.integers(-60, 60, (8, IMAGE[1], 3, 3)).astype(np.int8),
        "ws": (0.002 + 0.01 * np.abs(drawn(8))).astype(np.float32), "wz": np.zeros(8, np.int8),
    }  # fmt: skip
    value = helper.make_tensor_value_info("x0", TensorProto.UINT8, IMAGE)
    model = graph_of(nodes, [value], ["y"], constants)
    given = {"x0": random.integers(0, 256, IMAGE).astype(np.uint8)}
    (wanted,) = ReferenceEvaluator(model).run(None, given)
    (found,) = computed(model, given, X86)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_rounded_as_it_comes_has_weights_of_int8(target: str) -> None:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x0"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "w", "z", "wz"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["s", "ws"], ["both"]),
        helper.make_node("Mul", ["real", "both"], ["y"]),
    ]
    constants: dict[str, Array] = {
        "w": np.random.default_rng(1).integers(-127, 128, (18, 8)).astype(np.int8),
        "wz": np.zeros(8, np.int8),
        "ws": (0.002 + 0.01 * np.abs(drawn(8))).astype(np.float32),
    }
    inputs = [helper.make_tensor_value_info("x0", TensorProto.FLOAT, (2, 3, 18))]
    model = graph_of(nodes, inputs, ["y"], constants)
    given = feeds(model)
    wanted = ReferenceEvaluator(model).run(None, given)
    assert_steps(computed(model, given, TARGETS[target]), wanted, 1e-4)
    graph = onnx_simplify.simplify(prepare(model))
    lowered = pipeline.lower(onnx_import.from_onnx(graph), tvm.target.Target(X86), 3)
    assert "int8" in constant_types(lowered)


def constant_types(module: tvm.IRModule) -> set[str]:
    from toolchain.compile import tvm_versions

    found: set[str] = set()

    def visit(expression: object) -> None:
        value = tvm_versions.constant_value(expression)
        if value is not None and value.ndim > 1:
            found.add(str(value.dtype))

    relax.analysis.post_order_visit(module["main"], visit)
    return found
