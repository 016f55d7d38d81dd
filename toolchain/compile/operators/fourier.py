"""DFT and STFT as products with matrices of sines and cosines.

By the definitions of ONNX's operators, version 20 of DFT (with the inverse of a one-sided spectrum)
and 17 of STFT. A product has n² steps where a fast transform has n·log(n): for the windows that
speech front ends take (400 to 512 values) it is a small part of the network behind it.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from toolchain.compile.operators.graph import Array, Graph, attributes

OPERATORS = ("DFT", "STFT")
LONGEST = 4096  # values of a transform: a matrix of n² of them is a constant of the network
AXIS_AS_INPUT = 20  # of DFT, since this opset


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Replace a transform of known length.

    Returns:
        whether it was replaced.
    """
    return _stft(graph, node) if node.op_type == "STFT" else _dft(graph, node)


def matrix(length: int, rows: int, *, inverse: bool, onesided: bool) -> Array:
    """What a signal is multiplied by: (rows, 2, columns, 2) of float64.

    Args:
        length: of the transform.
        rows: values of the signal that it takes: further ones are left out, missing ones are 0.
        inverse: from the spectrum to the signal.
        onesided: a real signal, of whose spectrum the first length // 2 + 1 values are taken.

    Returns:
        by value of the input, its real and imaginary part, value of the output, and its parts; an
        inverse of a one-sided spectrum has the real part alone: (rows, 2, length, 1).
    """
    columns = length // 2 + 1 if onesided and not inverse else length
    angles = np.outer(np.arange(rows), np.arange(columns)) * (2 * np.pi / length)
    angles[length:] = 0
    cos, sin = np.cos(angles), np.sin(angles) * (1 if inverse else -1)
    cos[length:] = sin[length:] = 0
    real, imaginary = np.stack([cos, sin], -1), np.stack([-sin, cos], -1)
    found: Array = np.stack([real, imaginary], 1)
    if not inverse:
        return found
    found /= length
    if not onesided:
        return found
    # the spectrum's other half is conjugate: each value but the first and the middle counts twice
    twice = np.array([1 if 2 * k in (0, length) else 2 for k in range(rows)])
    twice[length // 2 + 1 :] = 0
    real_part: Array = found[..., :1] * twice[:, None, None, None]
    return real_part


def _dft(graph: Graph, node: onnx.NodeProto) -> bool:
    said, shape = attributes(node), graph.shape(node.input[0])
    given = [*node.input, "", ""]
    if shape is None or any(name and graph.value(name) is None for name in given[1:3]):
        return False
    axis = int(said.get("axis", 1)) if graph.opset < AXIS_AS_INPUT else -2
    if graph.opset >= AXIS_AS_INPUT and given[2]:
        axis = _number(graph, given[2], axis)
    axis %= len(shape)
    inverse, onesided = bool(said.get("inverse", 0)), bool(said.get("onesided", 0))
    default = 2 * (shape[axis] - 1) if inverse and onesided else shape[axis]
    length = _number(graph, given[1], default)
    if max(length, shape[axis]) > LONGEST:
        return False
    by = matrix(length, shape[axis], inverse=inverse, onesided=onesided)
    order = [*(i for i in range(len(shape)) if i != axis)]
    order.insert(len(order) - 1, axis)
    moved = graph.emit("Transpose", [node.input[0]], perm=order)
    result = transformed(graph, moved, tuple(shape[i] for i in order), by, node.input[0])
    graph.emit("Transpose", [result], perm=list(np.argsort(order)), output=node.output[0])
    return True


def _stft(graph: Graph, node: onnx.NodeProto) -> bool:
    said, shape = attributes(node), graph.shape(node.input[0])
    signal, step_input, window, length_input = [*node.input, "", ""][:4]
    step = graph.value(step_input)
    if shape is None or step is None or (length_input and graph.value(length_input) is None):
        return False
    of_window = graph.shape(window) if window else None
    if window and of_window is None:
        return False
    length = _number(graph, length_input, of_window[0] if of_window else shape[1])
    if length > LONGEST:
        return False
    parts = shape[2] if len(shape) == 3 else 1
    if len(shape) == 2:
        signal = graph.over_axes("Unsqueeze", signal, [2])
    frames = 1 + (shape[1] - length) // int(step.reshape(-1)[0])
    places = np.arange(frames)[:, None] * int(step.reshape(-1)[0]) + np.arange(length)
    cut = graph.emit("Gather", [signal, graph.const(places.astype(np.int64))], axis=1)
    by = matrix(length, length, inverse=False, onesided=bool(said.get("onesided", 1)))
    weights = graph.value(window) if window else None
    if weights is not None:
        by = by * weights.astype(np.float64)[:, None, None, None]
    elif window:
        column = graph.emit("Reshape", [window, graph.ints(length, 1)])
        cut = graph.emit("Mul", [cut, column])
    result = transformed(graph, cut, (shape[0], frames, length, parts), by, node.input[0])
    graph.emit("Identity", [result], output=node.output[0])
    return True


def transformed(graph: Graph, value: str, shape: tuple[int, ...], by: Array, like: str) -> str:
    """The product of a signal (..., n, 1 or 2) with a matrix; (..., m, 1 or 2)."""
    kind = helper.tensor_dtype_to_np_dtype(graph.type(like) or onnx.TensorProto.FLOAT)
    parts, (columns, made) = shape[-1], by.shape[2:]
    flat = by[:, :parts].reshape(shape[-2] * parts, columns * made).astype(kind)
    rows = graph.emit("Reshape", [value, graph.ints(-1, shape[-2] * parts)])
    product = graph.emit("MatMul", [rows, graph.const(flat, "transform")])
    return graph.emit("Reshape", [product, graph.ints(*shape[:-2], columns, made)])


def _number(graph: Graph, name: str, default: int) -> int:
    value = graph.value(name) if name else None
    return default if value is None else int(value.reshape(-1)[0])
