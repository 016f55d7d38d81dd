"""DeformConv: what its offsets point to sampled, then a 1x1 convolution over channels and taps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper

from toolchain.compile.operators import refusal
from toolchain.compile.operators.graph import Array, Graph, attributes

OPERATORS = ("DeformConv",)
LINEAR = 20  # the opset that calls GridSample's bilinear mode so


@dataclass(frozen=True, kw_only=True)
class Form:
    """A node's shapes.

    Attributes:
        image: (N, C, H, W).
        made: (N, channels, rows, columns).
        taps: of the kernel: rows times columns.
        groups: of channels with offsets of their own.
    """

    image: tuple[int, ...]
    made: tuple[int, ...]
    taps: int
    groups: int


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Replace it.

    Raises:
        ModelError: its input is no image, or a shape is not known.
    """
    x, weights, offsets, bias, mask = [*node.input, "", ""][:5]
    image, kernel, made = graph.shape(x), graph.shape(weights), graph.shape(node.output[0])
    if image is None or kernel is None or made is None or len(image) != 4:
        raise refusal.of(node, "its input 0 must be an image of a known shape (N, C, H, W)")
    said = attributes(node)
    form = Form(
        image=image,
        made=made,
        taps=kernel[2] * kernel[3],
        groups=int(said.get("offset_group", 1)),
    )
    grids = _grids(graph, offsets, form, _places(form, kernel, said), graph.type(x))
    parts = [_sampled(graph, x, grid, mask, form, group) for group, grid in enumerate(grids)]
    samples = parts[0] if len(parts) == 1 else graph.emit("Concat", parts, axis=1)
    columns = graph.emit("Reshape", [samples, graph.ints(image[0], -1, *made[2:])])
    flat = graph.emit("Reshape", [weights, graph.ints(kernel[0], -1, 1, 1)])
    inputs = [columns, flat, *([bias] if bias else [])]
    graph.emit("Conv", inputs, output=node.output[0], group=int(said.get("group", 1)))
    return True


def _places(form: Form, kernel: tuple[int, ...], said: dict[str, Any]) -> Array:
    """Where each tap of each output reads without an offset: (taps, rows, columns, [y, x])."""
    strides, dilations = (said.get(name) or [1, 1] for name in ("strides", "dilations"))
    pads = said.get("pads") or [0] * 4
    rows, columns = form.made[2:]
    tap_y, tap_x = np.divmod(np.arange(form.taps), kernel[3])
    y = np.arange(rows)[None, :] * strides[0] - pads[0] + tap_y[:, None] * dilations[0]
    x = np.arange(columns)[None, :] * strides[1] - pads[1] + tap_x[:, None] * dilations[1]
    full = (form.taps, rows, columns)
    both = [np.broadcast_to(y[:, :, None], full), np.broadcast_to(x[:, None, :], full)]
    return np.stack(both, axis=-1)


def _grids(graph: Graph, offsets: str, form: Form, places: Array, kind: int) -> list[str]:
    """GridSample's grid of each group of offsets: (N, taps * rows, columns, [x, y]).

    An element p of an axis of n lies at (2 p + 1) / n - 1 there.
    """
    samples, _, height, width = form.image
    rows, columns = form.made[2:]
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    by_group = graph.ints(samples, form.groups, form.taps, 2, rows, columns)
    given = graph.emit("Reshape", [offsets, by_group])
    sizes = np.array([height, width])
    start = graph.const(((2 * places + 1) / sizes - 1).astype(dtype), "places")
    scale = graph.const((2 / sizes).astype(dtype), "scale")
    grids = []
    for group in range(form.groups):
        own = graph.emit("Gather", [given, graph.const(np.array(group))], axis=1)
        last = graph.emit("Transpose", [own], perm=[0, 1, 3, 4, 2])
        at = graph.emit("Add", [graph.emit("Mul", [last, scale]), start])
        turned = graph.emit("Gather", [at, graph.ints(1, 0)], axis=4)
        flat = graph.ints(samples, form.taps * rows, columns, 2)
        grids.append(graph.emit("Reshape", [turned, flat]))
    return grids


def _sampled(graph: Graph, x: str, grid: str, mask: str, form: Form, group: int) -> str:
    """What a group of channels has there, times the mask: (N, C / groups, taps, rows, columns)."""
    samples, channels, _, _ = form.image
    rows, columns = form.made[2:]
    own = np.arange(channels).reshape(form.groups, -1)[group]
    part = x if form.groups == 1 else graph.emit("Gather", [x, graph.const(own)], axis=1)
    mode = "linear" if graph.opset >= LINEAR else "bilinear"
    taken = graph.emit("GridSample", [part, grid], mode=mode, padding_mode="zeros")
    by_tap = graph.ints(samples, len(own), form.taps, rows, columns)
    value = graph.emit("Reshape", [taken, by_tap])
    if not mask:
        return value
    by_group = graph.ints(samples, form.groups, form.taps, rows, columns)
    factors = graph.emit("Reshape", [mask, by_group])
    return graph.emit("Mul", [value, graph.emit("Gather", [factors, graph.ints(group)], axis=1)])
