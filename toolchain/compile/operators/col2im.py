"""Col2Im as a gather of what each pixel is the sum of."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper

from toolchain.compile.operators.graph import Array, Graph, attributes

OPERATORS = ("Col2Im",)


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Replace it, for a known image and block, of any number of axes.

    Columns (N, C · block, L) become (N, C, block · L) and a zero; each pixel then gathers the
    columns' values that lie on it, as many as the most that any pixel has.

    Returns:
        whether it was replaced.
    """
    shape = graph.shape(node.input[0])
    image, block = graph.value(node.input[1]), graph.value(node.input[2])
    if shape is None or image is None or block is None:
        return False
    said, rank = attributes(node), len(image)
    sources = _sources(
        image.tolist(),
        block.tolist(),
        said.get("dilations", [1] * rank),
        said.get("pads", [0] * 2 * rank),
        said.get("strides", [1] * rank),
    )
    samples, size = shape[0], int(np.prod(block)) * shape[2]
    channels = shape[1] // int(np.prod(block))
    kind = helper.tensor_dtype_to_np_dtype(graph.type(node.input[0]))
    flat = graph.emit("Reshape", [node.input[0], graph.ints(samples, channels, size)])
    zero = graph.const(np.zeros((samples, channels, 1), kind), "zero")
    padded = graph.emit("Concat", [flat, zero], axis=2)
    taken = graph.emit("Gather", [padded, graph.const(sources, "sources")], axis=2)
    summed = graph.over_axes("ReduceSum", taken, [3], keepdims=0)
    form = graph.ints(samples, channels, *image.tolist())
    graph.emit("Reshape", [summed, form], output=node.output[0])
    return True


def _sources(
    image: Sequence[int],
    block: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
    strides: Sequence[int],
) -> Array:
    """The columns' values that each pixel is the sum of: (pixels, most), int64.

    The index one after the last stands for zero.
    """
    rank = len(image)
    moves = [
        (image[i] + pads[i] + pads[rank + i] - dilations[i] * (block[i] - 1) - 1) // strides[i] + 1
        for i in range(rank)
    ]
    found: list[list[int]] = [[] for _ in range(int(np.prod(image)))]
    steps = list(itertools.product(*(range(n) for n in moves)))
    for place, element in enumerate(itertools.product(*(range(n) for n in block))):
        for number, step in enumerate(steps):
            pixel = [
                s * stride - pad + e * dilation
                for s, stride, pad, e, dilation in zip(
                    step, strides, pads, element, dilations, strict=False
                )
            ]
            if all(0 <= p < size for p, size in zip(pixel, image, strict=True)):
                index = int(np.ravel_multi_index(pixel, tuple(image)))
                found[index].append(place * len(steps) + number)
    none = int(np.prod(block)) * len(steps)
    most = max(1, *map(len, found))
    return np.array([one + [none] * (most - len(one)) for one in found], np.int64)
