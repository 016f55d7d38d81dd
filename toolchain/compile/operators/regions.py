"""RoiAlign of the greatest value, which TVM takes of interpolated ones: here as ONNX says.

ONNX takes the greatest of the four neighbours, each times its weight, of each sample of a cell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from toolchain.compile.operators import refusal
from toolchain.compile.operators.graph import Graph, attributes

OPERATORS = ("RoiAlign",)
HALF_PIXEL = 16  # the opset since which this is the default


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Neighbours and weights of the samples along one axis, values of (regions, samples) each.

    Attributes:
        low: the neighbour before, int64.
        high: the neighbour after, int64.
        near: the weight of `low`; 0 outside of the image.
        far: the weight of `high`; 0 outside of the image.
    """

    low: str
    high: str
    near: str
    far: str


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Replace one whose mode is max.

    Returns:
        whether it was replaced: not for averages.

    Raises:
        ModelError: a shape is not known, or the number of samples is left to the regions.
    """
    said = attributes(node)
    if said.get("mode", "avg") != "max":
        return False
    image, regions = graph.shape(node.input[0]), graph.shape(node.input[1])
    if image is None or regions is None:
        raise refusal.of(node, "with mode = max the shapes of its inputs must be known")
    each = int(said.get("sampling_ratio", 0))
    if each <= 0:
        raise refusal.of(node, "with mode = max its sampling_ratio must be above 0")
    samples, channels, height, width = image
    cells = [int(said.get(f"output_{name}", 1)) for name in ("height", "width")]
    rows = _axis(graph, node, 1, (height, cells[0], each))
    columns = _axis(graph, node, 0, (width, cells[1], each))
    last = graph.emit("Transpose", [node.input[0]], perm=[0, 2, 3, 1])
    table = graph.emit("Reshape", [last, graph.ints(samples * height * width, channels)])
    sample = graph.emit("Mul", [node.input[2], graph.const(np.array(height * width))])
    sample = graph.emit("Reshape", [sample, graph.ints(-1, 1, 1)])
    best = ""
    for y, by_y in ((rows.low, rows.near), (rows.high, rows.far)):
        down = graph.emit("Mul", [y, graph.const(np.array(width))])
        start = graph.emit("Add", [sample, graph.over_axes("Unsqueeze", down, [2])])
        for x, by_x in ((columns.low, columns.near), (columns.high, columns.far)):
            place = graph.emit("Add", [start, graph.over_axes("Unsqueeze", x, [1])])
            value = graph.emit("Gather", [table, place], axis=0)
            factors = [graph.over_axes("Unsqueeze", w, [a]) for w, a in ((by_y, 2), (by_x, 1))]
            weight = graph.over_axes("Unsqueeze", graph.emit("Mul", factors), [3])
            part = graph.emit("Mul", [value, weight])
            best = graph.emit("Max", [best, part]) if best else part
    split = graph.ints(regions[0], cells[0], each, cells[1], each, channels)
    greatest = graph.over_axes(
        "ReduceMax", graph.emit("Reshape", [best, split]), [2, 4], keepdims=0
    )
    graph.emit("Transpose", [greatest], perm=[0, 3, 1, 2], output=node.output[0])
    return True


def _axis(graph: Graph, node: onnx.NodeProto, column: int, sizes: tuple[int, int, int]) -> Axis:
    """The samples along an axis.

    Args:
        graph: to add to.
        node: the RoiAlign.
        column: of the regions, where they start along the axis; they end two columns later.
        sizes: of the image, in cells of a region, and in samples of a cell.
    """
    size, cells, each = sizes
    said, dtype = attributes(node), helper.tensor_dtype_to_np_dtype(graph.type(node.input[1]))

    def number(value: object) -> str:
        return graph.const(np.array(value, dtype))

    default = "half_pixel" if graph.opset >= HALF_PIXEL else "output_half_pixel"
    half = said.get("coordinate_transformation_mode", default) == "half_pixel"
    scale, moved = number(said.get("spatial_scale", 1.0)), number(0.5 if half else 0.0)
    ends = []
    for place in (column, column + 2):
        end = graph.emit("Gather", [node.input[1], graph.ints(place)], axis=1)
        ends.append(graph.emit("Sub", [graph.emit("Mul", [end, scale]), moved]))
    length = graph.emit("Sub", ends[::-1])
    if not half:
        length = graph.emit("Max", [length, number(1.0)])
    shares = (np.arange(cells)[:, None] + (np.arange(each)[None] + 0.5) / each) / cells
    at = graph.emit("Add", [ends[0], graph.emit("Mul", [length, number(shares.reshape(1, -1))])])
    outside = graph.emit(
        "Or",
        [graph.emit("Less", [at, number(-1.0)]), graph.emit("Greater", [at, number(float(size))])],
    )
    at = graph.emit("Clip", [at, number(0.0), number(float(size - 1))])
    floor = graph.emit("Floor", [at])
    far = graph.emit("Sub", [at, floor])
    near = graph.emit("Sub", [number(1.0), far])
    low = graph.emit("Cast", [floor], to=TensorProto.INT64)
    after = graph.emit("Add", [low, graph.const(np.array(1))])
    last = graph.const(np.array(size - 1))
    high = graph.emit("Where", [graph.emit("Greater", [after, last]), last, after])
    near, far = (graph.emit("Where", [outside, number(0.0), w]) for w in (near, far))
    return Axis(low=low, high=high, near=near, far=far)
