"""Layers of float32 by weights of int8, in integers, against TensorFlow Lite's reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto

from tests.support import tflite_models
from tests.support.conformance.reference_kernels import executable
from tests.support.quantized_operators import RELU, RELU6, SAME, VALID, generator
from tests.support.tflite_models import Operator, Tensor, constant
from toolchain.compile import onnx_import, onnx_simplify
from toolchain.compile.importing import dynamic_range
from toolchain.compile.operators.prepare import prepare
from toolchain.formats.graphs import tflite_graph
from toolchain.formats.rounding import tflite_network
from toolchain.formats.signature import Tensor as Described

# TensorFlow says that its interpreter will be removed in a later TensorFlow
pytestmark = pytest.mark.filterwarnings("ignore:[\\s\\S]*Interpreter is deprecated:UserWarning")
Array = npt.NDArray[Any]
OPTIONS = {
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
}


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer of the network's input, its weights, and the shape that it gives."""

    name: str
    weights: Tensor
    to: tuple[int, ...]
    settings: Mapping[str, Any]
    has_bias: bool = True


def model(x: tuple[int, ...], layers: Sequence[Layer]) -> bytes:
    """A file with an output for each of some layers of one input."""
    tensors, operators = {"x": Tensor(shape=x, kind="float32")}, []
    for n, layer in enumerate(layers):
        inputs = ["x", f"w{n}"]
        tensors[f"w{n}"] = layer.weights
        tensors[f"y{n}"] = Tensor(shape=layer.to, kind="float32")
        if layer.has_bias:
            bias = generator(f"{n}").normal(0, 2, layer.to[-1]).astype(np.float32)
            tensors[f"b{n}"] = constant(bias)
            inputs.append(f"b{n}")
        operators.append(
            Operator(
                name=layer.name, inputs=inputs, outputs=[f"y{n}"], options=OPTIONS[layer.name],
                settings=layer.settings,
            )
        )  # fmt: skip
    return tflite_models.model(tensors, operators, outputs=[f"y{n}" for n, _ in enumerate(layers)])


def weights(*shape: int, axis: int = 0, each: bool = True) -> Tensor:
    random = generator(f"{shape} {each}")
    scales = random.uniform(0.001, 0.02, shape[axis] if each else 1)
    value = random.integers(-127, 128, shape).astype(np.int8)
    return constant(value, scales.astype(np.float32).tolist(), axis)


def convolution(
    of: Tensor, *to: int, name: str = "CONV_2D", stride: int = 1, dilation: int = 1, **said: Any
) -> Layer:
    settings = {
        "padding": SAME, "strideW": stride, "strideH": stride,
        "dilationWFactor": dilation, "dilationHFactor": dilation, **said,
    }  # fmt: skip
    return Layer(name=name, weights=of, to=to, settings=settings)


def depthwise(of: Tensor, *to: int, stride: int = 1, **said: Any) -> Layer:
    return convolution(of, *to, name="DEPTHWISE_CONV_2D", stride=stride, **said)


def dense(
    of: Tensor, *to: int, has_bias: bool = True, asymmetric: bool = True, **said: Any
) -> Layer:
    settings = {"asymmetricQuantizeInputs": asymmetric, **said}
    return Layer(name="FULLY_CONNECTED", weights=of, to=to, settings=settings, has_bias=has_bias)


WINDOWS = weights(16, 3, 3, 6)
CASES: dict[str, tuple[tuple[int, ...], list[Layer]]] = {
    "convolutions": ((1, 9, 8, 6), [
        convolution(WINDOWS, 1, 9, 8, 16),
        convolution(weights(12, 3, 3, 6, each=False), 1, 9, 8, 12),
        # scales that are all the same are one scale
        convolution(replace(weights(8, 3, 3, 6), scale=[0.01] * 8), 1, 9, 8, 8),
        convolution(WINDOWS, 1, 5, 4, 16, stride=2, fusedActivationFunction=RELU6),
        convolution(weights(8, 3, 3, 6), 1, 5, 4, 8, dilation=2, padding=VALID),
        convolution(weights(16, 1, 1, 6), 1, 9, 8, 16),
    ]),
    "convolutions of three images": ((3, 9, 8, 6), [convolution(WINDOWS, 3, 9, 8, 16)]),
    "depthwise convolutions": ((1, 9, 8, 6), [
        depthwise(weights(1, 3, 3, 6, axis=3), 1, 9, 8, 6, depthMultiplier=1),
        depthwise(
            weights(1, 3, 3, 12, axis=3), 1, 5, 4, 12, stride=2, depthMultiplier=2,
            fusedActivationFunction=RELU,
        ),
    ]),
    "dense layers": ((5, 40), [
        dense(weights(12, 40), 5, 12),
        dense(weights(11, 40, each=False), 5, 11),
        dense(weights(10, 40, each=False), 5, 10, asymmetric=False),
        dense(weights(9, 40), 5, 9, has_bias=False, fusedActivationFunction=RELU),
    ]),
    "a dense layer of three axes": (
        (2, 5, 40), [dense(weights(12, 40), 2, 5, 12, keepNumDims=True)]
    ),
}  # fmt: skip


def written_out(content: bytes, x: tuple[int, ...]) -> onnx.ModelProto:
    network = tflite_graph.TfliteNetwork(content)
    graph = network.to_onnx([Described(name=network.signature.inputs[0].name, shape=x)], "g")
    dynamic_range.write_out(graph, tflite_network.read(content))
    return graph


def given(shape: tuple[int, ...], name: str) -> list[Array]:
    """Numbers as they come, some that lie between two steps, those of one sign, and zeros."""
    drawn = generator(name).normal(0, 3, shape).astype(np.float32)
    quarters = (generator(name).integers(-510, 511, shape) / 4).astype(np.float32)
    quarters.flat[:2] = 127.5, -127.5
    return [drawn, quarters, np.abs(drawn), -np.abs(drawn), np.zeros(shape, np.float32)]


@pytest.mark.parametrize("case", CASES)
def test_hybrid_layers_are_the_references(case: str) -> None:
    shape, layers = CASES[case]
    content = model(shape, layers)
    graph = written_out(content, shape)
    assert dynamic_range.is_written_out(graph)
    run = executable(onnx_import.from_onnx(onnx_simplify.simplify(prepare(graph))), 3)
    # one step of an input is some 0.07 times a weight of 0.001 to 2
    for x in given(shape, case):
        wanted = tflite_models.reference(content, [x])
        for layer, one, other in zip(layers, run([x]), wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=3e-4, err_msg=str(layer.to))


def test_products_stay_where_the_file_has_none_of_them() -> None:
    shape, layers = CASES["dense layers"]
    content = model(shape, layers[:1])
    other = tflite_network.read(model(shape, [dense(weights(10, 40), 5, 10)]))
    network = tflite_graph.TfliteNetwork(content)
    graph = network.to_onnx([Described(name=network.signature.inputs[0].name, shape=shape)], "g")
    dynamic_range.write_out(graph, other)
    assert not dynamic_range.is_written_out(graph)
    assert not any(node.op_type == "Cast" for node in graph.graph.node)


def test_weights_stay_bytes() -> None:
    shape, layers = CASES["dense layers"]
    graph = written_out(model(shape, layers[:1]), shape)
    held = [t for t in graph.graph.initializer if t.data_type == TensorProto.INT8 and t.dims]
    assert [40, 12] in [list(tensor.dims) for tensor in held]
