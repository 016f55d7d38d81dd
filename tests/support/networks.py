"""Small ONNX graphs, the targets that they are compiled for, and what they compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import tvm
from onnx import TensorProto, helper, numpy_helper

from toolchain.compile import compilation_job as work
from toolchain.compile import onnx_import, onnx_simplify, pipeline
from toolchain.formats import onnx_reference

X86 = {"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": "x86-64-v3"}
SCALAR = {
    "kind": "llvm",
    "mtriple": "riscv64-unknown-linux-gnu",
    "mcpu": "generic-rv64",
    "mabi": "lp64d",
    "mattr": ["+m", "+a", "+f", "+d", "+c"],
}
VECTORS: dict[str, object] = {**SCALAR, "mattr": ["+m", "+a", "+f", "+d", "+c", "+v"]}

NEON: dict[str, object] = {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mattr": ["+neon"]}


def random(*shape: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def model(
    nodes: Sequence[onnx.NodeProto],
    shape: tuple[int, ...],
    constants: Mapping[str, npt.NDArray[Any]] | None = None,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    return onnx.shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    )


def convolution(
    shape: tuple[int, ...], channels: int, window: int, **attributes: Any
) -> onnx.ModelProto:
    """A convolution with bias, and relu6 after it as exporters write it."""
    groups: int = attributes.get("group", 1)
    return model(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["c"], **attributes),
            helper.make_node("Clip", ["c", "low", "high"], ["y"]),
        ],
        shape,
        {
            "w": random(channels, shape[1] // groups, window, window),
            "b": random(channels),
            "low": np.array(0, np.float32),
            "high": np.array(6, np.float32),
        },
    )


CASES = {
    "3x3, stride 2, uneven padding": convolution(
        (1, 3, 15, 13), 16, 3, strides=[2, 2], pads=[0, 0, 1, 1]
    ),
    "1x1": convolution((1, 24, 7, 7), 40, 1),
    "1x1, odd channels, batch 3": convolution((3, 7, 5, 11), 13, 1),
    "depthwise 5x5": convolution((2, 24, 14, 14), 24, 5, pads=[2, 2, 2, 2], group=24),
    "depthwise, odd": convolution((1, 5, 9, 9), 5, 3, pads=[1, 1, 1, 1], group=5, strides=[2, 2]),
    "dilated": convolution((1, 8, 12, 12), 8, 3, dilations=[2, 2]),
    "one pixel": convolution((1, 72, 1, 1), 24, 1),
    "two groups": convolution((1, 8, 6, 6), 12, 3, group=2),
    "residual": model(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Add", ["c", "x"], ["s"]),
            helper.make_node("Relu", ["s"], ["y"]),
        ],
        (1, 16, 8, 8),
        {"w": random(16, 16, 3, 3)},
    ),
    "pooling and dense": model(
        [
            helper.make_node("MaxPool", ["x"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
            helper.make_node("GlobalAveragePool", ["m"], ["g"]),
            helper.make_node("Flatten", ["g"], ["f"]),
            helper.make_node("Gemm", ["f", "w", "b"], ["s"]),
            helper.make_node("Softmax", ["s"], ["y"], axis=1),
        ],
        (2, 12, 8, 8),
        {"w": random(12, 10), "b": random(10)},
    ),
    "softmax over channels": model(
        [helper.make_node("Softmax", ["x"], ["y"], axis=1)], (2, 5, 7, 9)
    ),
    "x * sigmoid(x), its tanh": model(
        [
            helper.make_node("Conv", ["x", "w"], ["c"]),
            helper.make_node("Sigmoid", ["c"], ["s"]),
            helper.make_node("Mul", ["c", "s"], ["m"]),
            helper.make_node("Tanh", ["m"], ["y"]),
        ],
        (1, 6, 5, 5),
        {"w": random(9, 6, 1, 1)},
    ),
    "erf, its exponential squared": model(
        [
            helper.make_node("Conv", ["x", "w"], ["c"]),
            helper.make_node("Erf", ["c"], ["e"]),
            helper.make_node("Exp", ["e"], ["p"]),
            helper.make_node("Mul", ["p", "p"], ["y"]),
        ],
        (1, 6, 5, 5),
        {"w": random(16, 6, 1, 1)},
    ),
    "concatenated": model(
        [
            helper.make_node("Conv", ["x", "w"], ["c"]),
            helper.make_node("Concat", ["x", "c"], ["k"], axis=1),
            helper.make_node("Mul", ["k", "scale"], ["y"]),
        ],
        (1, 6, 5, 5),
        {"w": random(3, 6, 1, 1), "scale": random(1, 9, 1, 1)},
    ),
    "a convolution, then one transposed": model(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("ConvTranspose", ["c", "v"], ["t"], strides=[2, 2]),
            helper.make_node("Conv", ["t", "u"], ["y"]),
        ],
        (1, 6, 5, 5),
        {"w": random(8, 6, 3, 3), "v": random(8, 4, 3, 3), "u": random(5, 4, 1, 1)},
    ),
    "taken apart": model(
        [
            helper.make_node("Split", ["x"], ["a", "b", "c"], axis=1),
            helper.make_node("Tanh", ["a"], ["t"]),
            helper.make_node("Mul", ["t", "b"], ["p"]),
            helper.make_node("Add", ["p", "c"], ["y"]),
        ],
        (2, 51),
    ),
    "not a network of images": model(
        [helper.make_node("Tanh", ["x"], ["t"]), helper.make_node("MatMul", ["t", "w"], ["y"])],
        (3, 17),
        {"w": random(17, 5)},
    ),
}


def expected(case: onnx.ModelProto, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return onnx_reference.run(case, {"x": x})[0]


def lowered(case: onnx.ModelProto, level: int) -> tvm.IRModule:
    graph = onnx_simplify.simplify(case) if level >= 1 else case
    return pipeline.lower(onnx_import.from_onnx(graph), work.host_target(), level)
