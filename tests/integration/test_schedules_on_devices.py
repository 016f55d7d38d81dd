"""What the schedules compute on a device: one network of drawn operators, through all the tasks.

The unit tests run the same tiles on this machine; here each target's own instructions are run.
EDGEWRIGHT_TARGETS=all runs it for the targets whose wheels are not built otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from tests.support.product import LONG, Product, emulated

CHANNELS, HEIGHT, WIDTH = 24, 13, 11
CONVOLUTIONS = 40
RELATIVE = 1e-4  # of the largest value
WIDE = "rv64,v=true,vlen=256,vext_spec=v1.0"
WIDER = "rv64,v=true,vlen=512,vext_spec=v1.0"  # runs what is for 256 bits
DEVICES = [
    pytest.param(("rv64gc", ""), id="rv64gc"),
    pytest.param(("rv64gcv", ""), id="rv64gcv-128"),
    pytest.param(("rv64gcv", WIDE), id="rv64gcv-256"),
    pytest.param(("rv64gcv", WIDER), id="rv64gcv-512", marks=LONG),
    pytest.param(("aarch64", ""), id="aarch64", marks=LONG),
    pytest.param(("armv7l", ""), id="armv7l", marks=LONG),
]


class Branches:
    """A graph under construction: each branch reads the input and ends in a flat vector."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self.ends: list[str] = []
        self.draw = np.random.default_rng(3)

    def add(self, operator: str, inputs: list[str], **attributes: object) -> str:
        """A node; the name of what it gives."""
        name = f"{operator}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def between(self, low: int, high: int) -> int:
        """A whole number, drawn; both ends included."""
        return int(self.draw.integers(low, high + 1))

    def constant(self, value: object) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weights(self, *shape: int) -> str:
        """Drawn so that a sum over all axes but the first stays near one."""
        scale = np.sqrt(np.prod(shape[1:]))
        return self.constant((self.draw.standard_normal(shape) / scale).astype(np.float32))

    def first(self, channels: int) -> str:
        """The first channels of the input."""
        ends = [self.constant(np.array([n], np.int64)) for n in (0, channels, 1)]
        return self.add("Slice", ["x", *ends])

    def end(self, name: str) -> None:
        self.ends.append(self.add("Flatten", [name], axis=1))

    def graph(self, batch: int) -> onnx.ModelProto:
        """All branches side by side, and the input in float16."""
        self.nodes.append(helper.make_node("Concat", self.ends, ["y"], axis=1))
        self.nodes.append(helper.make_node("Cast", ["x"], ["half"], to=TensorProto.FLOAT16))
        shape = (batch, CHANNELS, HEIGHT, WIDTH)
        graph = helper.make_graph(
            self.nodes,
            "branches",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [
                helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
                helper.make_tensor_value_info("half", TensorProto.FLOAT16, None),
            ],
            self.constants,
        )
        opset = [helper.make_opsetid("", 17)]
        return onnx.shape_inference.infer_shapes(
            helper.make_model(graph, opset_imports=opset, ir_version=8)
        )


def convolve(to: Branches) -> None:
    """An ordinary, grouped or depthwise convolution of any window, with what is fused after it."""
    channels = to.between(1, CHANNELS)
    divisors = [g for g in range(1, channels + 1) if channels % g == 0]
    groups = divisors[to.between(0, len(divisors) - 1)] if to.between(0, 1) else 1
    outputs = groups * to.between(1, max(1, 40 // groups))
    window, dilation = (1, 1, 3, 5)[to.between(0, 3)], to.between(1, 2)
    source = to.first(channels)
    if to.between(0, 1):  # something that computes the image, and its border where there is one
        mixed = to.add("Conv", [source, to.weights(channels, channels, 1, 1)])
        source = to.add("Relu", [mixed])
    y = to.add(
        "Conv",
        [source, to.weights(outputs, channels // groups, window, window), to.weights(outputs)],
        group=groups,
        strides=[to.between(1, 3)] * 2,
        dilations=[dilation] * 2,
        pads=[to.between(0, window - 1) for _ in range(4)],
    )
    after = ("Relu", "HardSwish", "Sigmoid", "")[to.between(0, 3)]
    to.end(to.add(after, [y]) if after else y)


def others(to: Branches) -> None:
    """Pooling, reductions, a matrix product, softmax, broadcasts."""
    window = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}
    to.end(to.add("MaxPool", ["x"], **window))
    to.end(to.add("AveragePool", ["x"], **window, count_include_pad=1))
    to.end(to.add("ReduceMean", ["x"], axes=[3], keepdims=0))
    to.end(to.add("Mul", ["x", to.weights(CHANNELS, 1, 1)]))
    pooled = to.add("Flatten", [to.add("GlobalAveragePool", ["x"])], axis=1)
    dense = to.add("Gemm", [pooled, to.weights(CHANNELS, 37), to.weights(37)])
    to.end(to.add("Softmax", [dense], axis=1))
    to.end(dense)


def write(path: Path) -> None:
    """The network, as an ONNX file."""
    branches = Branches()
    for _ in range(CONVOLUTIONS):
        convolve(branches)
    others(branches)
    onnx.save(branches.graph(batch=1), path)


@pytest.fixture(scope="module")
def apart(product: Product, tmp_path_factory: pytest.TempPathFactory) -> Product:
    """With a dist/ of its own: what is compiled here must not come into other tests' bundles."""
    return Product(folder=tmp_path_factory.mktemp("schedules-product"), inventory=product.inventory)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("schedules") / "branches.onnx"
    write(path)
    return path


@pytest.fixture(params=DEVICES)
def device(
    request: pytest.FixtureRequest,
    apart: Product,
    shared_device: Callable[[str, str], list[str]],
) -> Iterator[tuple[str, list[str]]]:
    target, cpu = request.param
    apart.invoke("build-wheels", "--target", target)
    if not cpu:
        yield target, shared_device(target, "debian13")
        return
    with emulated(apart, target, "debian13", cpu) as on:
        yield target, on


def test_every_schedule_computes_on_the_device_what_the_reference_says(
    apart: Product, network: Path, device: tuple[str, list[str]]
) -> None:
    target, on = device
    apart.invoke("compile", "--model-file", str(network), "--target", target)
    apart.invoke("deploy", "--model", network.stem, *on)
    found = apart.json("bench", "--budget", "0.5", "--runtime", "tvm", *on)
    (measurement,) = found["measurements"]
    assert measurement["error"] is None
    parity = measurement["parity"]
    assert parity["count"] > 0
    assert parity["max_abs"] < RELATIVE * max(1.0, parity["reference_max_abs"])
