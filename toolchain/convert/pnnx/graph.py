"""An ONNX graph as pnnx knows how to read it: the same operators, said in another way.

pnnx tells operators by what PyTorch's exporter writes: an attribute at its default is another
operator to it when it is left out, and what that exporter never writes it leaves as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

MOST_COPIES = 16  # that one Tile becomes


def readable(model: ModelProto) -> ModelProto:
    """A copy in which Pad names its mode, Split its sizes, Tile is Concat, and DepthToSpace CRD's.

    Args:
        model: its sizes fixed.
    """
    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    held = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    changed = ModelProto()
    changed.CopyFrom(model)
    nodes = [said for node in model.graph.node for said in _said(changed, node, shapes, held)]
    del changed.graph.node[:]
    changed.graph.node.extend(nodes)
    return changed


def _said(
    model: ModelProto,
    node: NodeProto,
    shapes: Mapping[str, Sequence[int]],
    held: Mapping[str, np.ndarray],
) -> Iterator[NodeProto]:
    attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    if node.op_type == "Pad" and "mode" not in attributes:
        named = NodeProto()
        named.CopyFrom(node)
        named.attribute.append(helper.make_attribute("mode", "constant"))
        yield named
    elif node.op_type == "Split" and len(node.input) == 1 and "split" not in attributes:
        yield _sized(model, node, shapes)
    elif node.op_type == "Tile" and (along := _axis(held.get(node.input[1]))) is not None:
        axis, copies = along
        yield helper.make_node("Concat", [node.input[0]] * copies, node.output, axis=axis)
    elif (
        node.op_type == "DepthToSpace"
        and attributes.get("mode", b"DCR") == b"DCR"
        and len(shape := shapes.get(node.input[0], ())) == 4
        and all(shape)
    ):
        yield from _depth_to_space(model, node, attributes["blocksize"], shape)
    else:
        yield node


def _sized(model: ModelProto, node: NodeProto, shapes: Mapping[str, Sequence[int]]) -> NodeProto:
    """A Split with the sizes of its parts, where all are known; into one part it is nothing."""
    attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    axis = attributes.get("axis", 0)
    sizes = [shapes[part][axis] for part in node.output if shapes.get(part)]
    if len(sizes) != len(node.output) or not all(sizes):
        return node
    if len(sizes) == 1:
        return helper.make_node("Identity", [node.input[0]], node.output)
    name = f"{node.output[0]}/sizes"
    model.graph.initializer.append(numpy_helper.from_array(np.array(sizes, np.int64), name))
    return helper.make_node("Split", [node.input[0], name], node.output, axis=axis)


def _axis(repeats: np.ndarray | None) -> tuple[int, int] | None:
    """The one axis along which a Tile repeats, and how often; None where it is none or several."""
    if repeats is None:
        return None
    axes = [axis for axis, times in enumerate(repeats) if times != 1]
    if len(axes) != 1 or not 1 < repeats[axes[0]] <= MOST_COPIES:
        return None
    return axes[0], int(repeats[axes[0]])


def _depth_to_space(
    model: ModelProto, node: NodeProto, size: int, shape: Sequence[int]
) -> Iterator[NodeProto]:
    """Depth-column-row as a shuffle of channels before column-row-depth, which PyTorch has."""
    batch, channels, height, width = shape
    apart = [batch, size * size, channels // (size * size), height, width]
    name = node.output[0]
    for what, sizes in (("apart", apart), ("together", [batch, channels, height, width])):
        held = numpy_helper.from_array(np.array(sizes, np.int64), f"{name}/{what}")
        model.graph.initializer.append(held)
    yield helper.make_node("Reshape", [node.input[0], f"{name}/apart"], [f"{name}/1"])
    yield helper.make_node("Transpose", [f"{name}/1"], [f"{name}/2"], perm=[0, 2, 1, 3, 4])
    yield helper.make_node("Reshape", [f"{name}/2", f"{name}/together"], [f"{name}/3"])
    yield helper.make_node("DepthToSpace", [f"{name}/3"], node.output, blocksize=size, mode="CRD")
