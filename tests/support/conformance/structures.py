"""The structures of networks that people ship, small: the parts that compilers trip over."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]
Network = tuple[onnx.ModelProto, Mapping[str, Array]]
BINS = 4  # of a detector's distance to each side of a box


class Builder:
    """A graph that grows by a node at a time; weights are drawn with a fixed seed."""

    def __init__(self, opset: int, **inputs: tuple[int, ...]) -> None:
        self.opset, self.random = opset, np.random.default_rng(11)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs = {
            name: self.random.standard_normal(shape).astype(np.float32)
            for name, shape in inputs.items()
        }

    def add(self, operator: str, *inputs: str, **said: Any) -> str:
        """A node of one output; its name."""
        return self.several(operator, 1, *inputs, **said)[0]

    def several(self, operator: str, count: int, *inputs: str, **said: Any) -> list[str]:
        """A node of several outputs; their names."""
        names = [f"{operator.lower()}{len(self.nodes)}_{n}" for n in range(count)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, **said))
        return names

    def hold(self, value: Any, kind: type[np.generic] = np.int64) -> str:
        """A constant; its name."""
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def weights(self, *shape: int) -> str:
        """A constant of small numbers; its name."""
        spread = max(math.prod(shape[1:]), 1) ** -0.5
        return self.hold(self.random.standard_normal(shape) * spread, np.float32)

    def conv(self, value: str, channels: tuple[int, int], window: int = 1, **said: Any) -> str:
        """A convolution of images with a bias, padded to keep the size at a stride of 1.

        Args:
            value: what it reads.
            channels: that it reads in each group, and that it makes.
            window: rows and columns of its kernel.
            said: further attributes.
        """
        given = {"pads": [window // 2] * 4, "kernel_shape": [window] * 2} | said
        kernel = self.weights(channels[1], channels[0], window, window)
        return self.add("Conv", value, kernel, self.weights(channels[1]), **given)

    def network(self, *outputs: str) -> Network:
        """The graph, and what it is given."""
        ends = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape)
            for name, value in self.inputs.items()
        ]
        made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "structure", ends, made, self.constants)
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8), self.inputs


def _silu(net: Builder, value: str, channels: tuple[int, int], *window: int, **said: Any) -> str:
    made = net.conv(value, channels, *window, **said)
    return net.add("Mul", made, net.add("Sigmoid", made))


def _split_bottleneck(net: Builder, value: str, channels: int) -> str:
    """YOLOv8's C2f: half goes on, half through a residual, all are concatenated."""
    half = channels // 2
    both = _silu(net, value, (channels, channels))
    kept, other = net.several("Split", 2, both, net.hold([half, half]), axis=1)
    inner = _silu(net, _silu(net, other, (half, half), 3), (half, half), 3)
    parts = [kept, other, net.add("Add", other, inner)]
    return _silu(net, net.add("Concat", *parts, axis=1), (3 * half, channels))


def yolo() -> Network:
    """A YOLOv8-type detector of one class: C2f, SPPF, an upsampled neck, two heads, DFL."""
    net = Builder(17, image=(1, 3, 32, 32))
    fine = _silu(net, _silu(net, "image", (3, 8), 3, strides=[2, 2]), (8, 8), 3, strides=[2, 2])
    fine = _split_bottleneck(net, fine, 8)
    coarse = _silu(net, fine, (8, 16), 3, strides=[2, 2])
    pools = [_silu(net, coarse, (16, 8))]
    for _ in range(3):
        pools.append(net.add("MaxPool", pools[-1], kernel_shape=[5, 5], pads=[2] * 4))
    coarse = _silu(net, net.add("Concat", *pools, axis=1), (32, 16))
    scales = net.hold([1, 1, 2, 2], np.float32)
    rule = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}
    larger = net.add("Resize", coarse, "", scales, nearest_mode="floor", **rule)
    fine = _silu(net, net.add("Concat", larger, fine, axis=1), (24, 8), 3)
    heads = []
    for value, channels in ((fine, 8), (coarse, 16)):
        sides = net.conv(_silu(net, value, (channels, 8), 3), (8, 4 * BINS))
        score = net.conv(_silu(net, value, (channels, 8), 3), (8, 1))
        head = net.add("Concat", sides, score, axis=1)
        heads.append(net.add("Reshape", head, net.hold([1, 4 * BINS + 1, -1])))
    every = net.add("Concat", *heads, axis=2)
    sides, score = net.several("Split", 2, every, net.hold([4 * BINS, 1]), axis=1)
    places = 8 * 8 + 4 * 4
    shares = net.add("Reshape", sides, net.hold([1, 4, BINS, places]))
    shares = net.add("Softmax", net.add("Transpose", shares, perm=[0, 2, 1, 3]), axis=1)
    steps = net.hold(np.arange(BINS).reshape(1, BINS, 1, 1), np.float32)
    distance = net.add("Reshape", net.add("Conv", shares, steps), net.hold([1, 4, places]))
    near, far = net.several("Split", 2, distance, axis=1)
    anchors = net.weights(1, 2, places)
    corners = [net.add("Sub", anchors, near), net.add("Add", anchors, far)]
    middle = net.add("Div", net.add("Add", *corners), net.hold(2, np.float32))
    boxes = net.add("Concat", middle, net.add("Sub", *corners[::-1]), axis=1)
    boxes = net.add("Mul", boxes, net.hold(np.full((1, places), 4), np.float32))
    return net.network(net.add("Concat", boxes, net.add("Sigmoid", score), axis=1))


def fire() -> Network:
    """SqueezeNet: a fire module, pooling that rounds up, Dropout, a convolution for classes."""
    net = Builder(7, image=(1, 3, 19, 19))
    value = net.add("Relu", net.conv("image", (3, 16), 3, strides=[2, 2], pads=[0] * 4))
    value = net.add("MaxPool", value, kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])
    squeezed = net.add("Relu", net.conv(value, (16, 4)))
    wide = [net.add("Relu", net.conv(squeezed, (4, 8), window)) for window in (1, 3)]
    value = net.several("Dropout", 2, net.add("Concat", *wide, axis=1), ratio=0.5)[0]
    value = net.add("Relu", net.conv(value, (16, 10)))
    return net.network(net.add("Softmax", net.add("GlobalAveragePool", value), axis=1))


def inception() -> Network:
    """GoogLeNet: LRN, a module of four branches, Dropout with its mask, a dense layer."""
    net = Builder(9, image=(1, 3, 16, 16))
    value = net.add("Relu", net.conv("image", (3, 16), 3, strides=[2, 2]))
    value = net.add("LRN", value, size=5, alpha=1e-4, beta=0.75, bias=1.0)
    pooled = net.add("MaxPool", value, kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4)
    branches = [
        net.conv(value, (16, 8)),
        net.conv(net.add("Relu", net.conv(value, (16, 6))), (6, 8), 3),
        net.conv(net.add("Relu", net.conv(value, (16, 4))), (4, 8), 5),
        net.conv(pooled, (16, 8)),
    ]
    value = net.add("Concat", *(net.add("Relu", branch) for branch in branches), axis=1)
    value = net.add("AveragePool", value, kernel_shape=[8, 8])
    value, _ = net.several("Dropout", 2, value, ratio=0.4)
    flat = net.add("Reshape", value, net.hold([1, 32]))
    dense = net.add("Gemm", flat, net.weights(10, 32), net.weights(10), transB=1)
    return net.network(net.add("Softmax", dense, axis=1))


def shuffle() -> Network:
    """ShuffleNet: grouped 1x1 convolutions with their channels shuffled, a pooled shortcut."""
    net = Builder(13, image=(1, 3, 16, 16))
    value = net.add("Relu", net.conv("image", (3, 12), 3, strides=[2, 2]))
    grouped = net.add("Relu", net.conv(value, (4, 12), group=3))
    apart = net.add("Reshape", grouped, net.hold([1, 3, 4, 8, 8]))
    turned = net.add("Transpose", apart, perm=[0, 2, 1, 3, 4])
    mixed = net.add("Reshape", turned, net.hold([1, 12, 8, 8]))
    each = net.conv(mixed, (1, 12), 3, strides=[2, 2], group=12)
    other = net.conv(each, (4, 12), group=3)
    short = net.add("AveragePool", value, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    value = net.add("Relu", net.add("Concat", short, other, axis=1))
    flat = net.add("ReduceMean", value, axes=[2, 3], keepdims=0)
    return net.network(net.add("Gemm", flat, net.weights(24, 10), net.weights(10)))


def recogniser() -> Network:
    """A CRNN: columns of an image of text as steps of a two-way LSTM, shapes computed."""
    net = Builder(13, image=(1, 1, 16, 12))
    value = net.add("Relu", net.conv("image", (1, 8), 3))
    value = net.add("MaxPool", value, kernel_shape=[2, 2], strides=[2, 2])
    value = net.add("Relu", net.conv(value, (8, 12), 3))
    value = net.add("MaxPool", value, kernel_shape=[8, 1], strides=[8, 1])
    steps = net.add("Transpose", net.add("Squeeze", value, net.hold([2])), perm=[2, 0, 1])
    gates = [net.weights(2, 32, 12), net.weights(2, 32, 8), net.weights(2, 64)]
    both = net.several("LSTM", 3, steps, *gates, hidden_size=8, direction="bidirectional")[0]
    turned = net.add("Transpose", both, perm=[0, 2, 1, 3])
    shape = net.add("Shape", turned)
    sizes = [net.add("Gather", shape, net.hold([n])) for n in (0, 1)]
    form = net.add("Concat", *sizes, net.hold([-1]), axis=0)
    rows = net.add("Reshape", turned, form)
    scores = net.add("Add", net.add("MatMul", rows, net.weights(16, 11)), net.weights(11))
    return net.network(net.add("Softmax", scores, axis=2))


def voice() -> Network:
    """A voice detector: a spectrum by convolution, layers over time, an LSTM with its state."""
    net = Builder(16, audio=(1, 128), h=(1, 1, 16), c=(1, 1, 16))
    padded = net.add("Pad", "audio", net.hold([0, 32, 0, 32]), mode="reflect")
    wave = net.add("Unsqueeze", padded, net.hold([1]))
    spectrum = net.add("Conv", wave, net.weights(34, 1, 64), strides=[32])
    parts = net.several("Split", 2, net.add("Mul", spectrum, spectrum), axis=1)
    size = net.add("Sqrt", net.add("Add", *parts))
    value = net.add("Log", net.add("Add", size, net.hold(1e-3, np.float32)))
    value = net.add("Conv", value, net.weights(16, 17, 3), net.weights(16), pads=[1, 1])
    steps = net.add("Transpose", net.add("Relu", value), perm=[2, 0, 1])
    gates = [net.weights(1, 64, 16), net.weights(1, 64, 16), net.weights(1, 128)]
    every, *state = net.several("LSTM", 3, steps, *gates, "", "h", "c", hidden_size=16)
    value = net.add("Transpose", net.add("Squeeze", every, net.hold([1])), perm=[1, 2, 0])
    score = net.add("Conv", net.add("Relu", value), net.weights(1, 16, 1), net.weights(1))
    mean = net.add("ReduceMean", net.add("Sigmoid", score), axes=[2], keepdims=0)
    return net.network(mean, *state)


STRUCTURES: dict[str, Callable[[], Network]] = {
    "YOLOv8": yolo,
    "SqueezeNet": fire,
    "GoogLeNet": inception,
    "ShuffleNet": shuffle,
    "text recogniser": recogniser,
    "voice detector": voice,
}
