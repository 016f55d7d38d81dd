"""Indices that a network computes, kept inside of what they index.

TVM reads and writes wherever an index points: one beyond a table reads the memory behind it. So
each index that is not a constant is clamped to what ONNX allows, [-size, size - 1], and wrapped
where it is negative; a constant that lies outside is refused. It costs three comparisons an index.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from toolchain.compile.operators import refusal
from toolchain.compile.operators.graph import Array, Graph, attributes

ALONG = {"Gather", "GatherElements", "Scatter", "ScatterElements"}  # an axis, which they name
COORDINATES = {"GatherND", "ScatterND"}  # the last axis holds an index for each of several
WRAPPED = {"Gather"}  # where negative, by the importer of each TVM
CLIP_BY_INPUTS = 11  # the opset in which its limits became inputs
# Tables by rows: the inputs that hold ids, and those that hold what they number.
TABLES = {"EmbedLayerNormalization": ((0, 2), (1, 4), (8, 3)), "RoiAlign": ((2, 0),)}


@dataclass(frozen=True, kw_only=True)
class Indexing:
    """Which input of a node indexes which.

    Attributes:
        indices: position of the indices among the node's inputs.
        data: name of the value that is read, or that the output starts as.
        axes: those of the value that are indexed: one for all indices, or one for each place of
            the last axis of the indices. None: all of it in one row.
    """

    indices: int
    data: str
    axes: tuple[int, ...] | None


def bound(model: onnx.ModelProto) -> None:
    """Make each computed index of a graph one that is inside, in place; in branches too.

    Args:
        model: with shapes inferred; where one is unknown, it is asked for when the network runs.

    Raises:
        ModelError: a constant index lies outside; the error names the node.
    """
    _bound_graph(model, Graph(model))


def _bound_graph(model: onnx.ModelProto, graph: Graph) -> None:
    kept: list[onnx.NodeProto] = []
    for node in graph.proto.node:
        graph.made.clear()
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                attribute.g.CopyFrom(_branch(model, graph, attribute.g))
        if node.op_type == "MaxRoiPool":
            _bound_samples(graph, node)
        if node.op_type == "Compress":
            _refuse_condition(graph, node)
        for indexing in _indexings(graph, node):
            _bound_node(graph, node, indexing)
        kept += [*graph.made, node]
    del graph.proto.node[:]
    graph.proto.node.extend(kept)


def _branch(model: onnx.ModelProto, outer: Graph, body: onnx.GraphProto) -> onnx.GraphProto:
    """A nested graph with its indices bound; it sees the values of those around it."""
    alone = onnx.helper.make_model(body, opset_imports=model.opset_import)
    inner = Graph(alone, outer.names)
    inner.constants = {**outer.constants, **inner.constants}
    inner.values = {**outer.values, **inner.values}
    _bound_graph(alone, inner)
    return alone.graph


def _indexings(graph: Graph, node: onnx.NodeProto) -> Iterator[Indexing]:
    """What a node indexes by values, if anything."""
    said = attributes(node)
    if node.op_type in ALONG:
        yield Indexing(indices=1, data=node.input[0], axes=(int(said.get("axis", 0)),))
    elif node.op_type in COORDINATES:
        first, form = int(said.get("batch_dims", 0)), graph.shape(node.input[1])
        if form is None:
            raise refusal.of(node, "the shape of its indices is not known")
        yield Indexing(indices=1, data=node.input[0], axes=tuple(range(first, first + form[-1])))
    elif node.op_type == "MaxUnpool":
        if len(node.input) > 2 and node.input[2]:
            raise refusal.of(node, "its input output_shape can't be followed")
        yield Indexing(indices=1, data=node.output[0], axes=None)
    for ids, table in TABLES.get(node.op_type, ()):
        if len(node.input) > max(ids, table) and node.input[ids]:
            yield Indexing(indices=ids, data=node.input[table], axes=(0,))


def _bound_node(graph: Graph, node: onnx.NodeProto, indexing: Indexing) -> None:
    indices = node.input[indexing.indices]
    sizes, constant = _sizes(graph, indexing), graph.value(indices)
    if constant is not None and sizes is not None:
        if ((constant < -sizes) | (constant >= sizes)).any():
            many = ", ".join(map(str, np.atleast_1d(sizes)))
            raise refusal.of(
                node, f"input {indexing.indices} has an index outside of an axis of {many}"
            )
        if node.op_type not in WRAPPED and (constant < 0).any():
            wrapped = np.where(constant < 0, constant + sizes, constant).astype(constant.dtype)
            node.input[indexing.indices] = graph.const(wrapped, "indices")
        return
    kind = graph.type(indices) or TensorProto.INT64
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    if sizes is not None:
        least, most = (graph.const(n.astype(dtype), "limit") for n in (-sizes, sizes - 1))
    elif indexing.axes is None:
        raise refusal.of(node, "the shape of its output is not known")
    else:
        size = _asked(graph, indexing, scalar=graph.shape(indices) == ())
        size = size if kind == TensorProto.INT64 else graph.emit("Cast", [size], to=kind)
        least = graph.emit("Neg", [size])
        most = graph.emit("Sub", [size, graph.const(np.array(1, dtype))])
    if graph.opset >= CLIP_BY_INPUTS:
        index = graph.emit("Clip", [indices, least, most])
    else:
        index = graph.emit("Max", [graph.emit("Min", [indices, most]), least])
    if node.op_type not in WRAPPED:
        below = graph.emit("Less", [index, graph.const(np.array(0, dtype), "zero")])
        index = graph.emit("Where", [below, graph.emit("Sub", [index, least]), index])
    node.input[indexing.indices] = index


def _sizes(graph: Graph, indexing: Indexing) -> Array | None:
    """How many elements there are to index, for each axis; None where that is not known."""
    shape = graph.shape(indexing.data)
    if shape is None:
        return None
    if indexing.axes is None:
        return np.array(np.prod(shape, dtype=np.int64))
    sizes = np.array([shape[axis] for axis in indexing.axes], np.int64)
    return sizes.reshape(()) if len(sizes) == 1 else sizes


def _asked(graph: Graph, indexing: Indexing, *, scalar: bool) -> str:
    """The sizes of axes, of int64, by a Shape of what has them."""
    axes = list(indexing.axes or ())
    shape = graph.emit("Shape", [indexing.data])
    size = graph.emit("Gather", [shape, graph.ints(*axes)], axis=0)
    return graph.over_axes("Squeeze", size, [0]) if scalar else size


def _bound_samples(graph: Graph, node: onnx.NodeProto) -> None:
    """Keep the first column of MaxRoiPool's regions, which says a sample's place in the batch."""
    shape = graph.shape(node.input[0])
    if shape is None:
        raise refusal.of(node, "the shape of its input 0 is not known")
    kind = helper.tensor_dtype_to_np_dtype(graph.type(node.input[1]))
    limits = np.finfo(kind)
    for operator, sample, rest in (("Less", 0, limits.min), ("Greater", shape[0] - 1, limits.max)):
        limit = graph.const(np.array([sample, *[rest] * 4], kind), "limit")
        outside = graph.emit(operator, [node.input[1], limit])
        node.input[1] = graph.emit("Where", [outside, limit, node.input[1]])


def _refuse_condition(graph: Graph, node: onnx.NodeProto) -> None:
    """Refuse a Compress whose condition is longer than the axis that it chooses from."""
    said, shape, condition = (
        attributes(node),
        graph.shape(node.input[0]),
        graph.shape(node.input[1]),
    )
    if shape is None or condition is None:
        raise refusal.of(node, "the shapes of its inputs are not known")
    size = shape[said["axis"]] if "axis" in said else np.prod(shape, dtype=np.int64)
    if condition[0] > size:
        raise refusal.of(node, f"input 1 has more elements than the {size} that it chooses from")
