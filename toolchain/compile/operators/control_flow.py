"""If with a known condition, Loop and Scan with a known count, written out.

A body is copied once for each turn, with names of its own; what it reads from outside stays.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import numpy_helper

from toolchain.compile.operators.graph import Array, Graph, attributes

OPERATORS = ("If", "Loop", "Scan")
LONGEST = 1024  # turns that are written out


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Replace a node whose way through its bodies is known.

    Returns:
        whether it was replaced.
    """
    return {"If": _if, "Loop": _loop, "Scan": _scan}[node.op_type](graph, node)


def _if(graph: Graph, node: onnx.NodeProto) -> bool:
    condition = graph.value(node.input[0])
    if condition is None:
        return False
    said = attributes(node)
    body = said["then_branch"] if bool(condition.reshape(-1)[0]) else said["else_branch"]
    _named(graph, node.output, copied(graph, body, []))
    return True


def _loop(graph: Graph, node: onnx.NodeProto) -> bool:
    body: onnx.GraphProto = attributes(node)["body"]
    turns = _turns(graph, node, body)
    carried = list(node.input[2:])
    scanned: list[list[str]] = [[] for _ in node.output[len(carried) :]]
    if turns is None or turns > LONGEST or (scanned and not turns):
        return False
    for turn in range(turns):
        given = [graph.const(_int64(turn)), graph.const(_true()), *carried]
        _, *results = copied(graph, body, given)
        carried, extra = results[: len(carried)], results[len(carried) :]
        for values, value in zip(scanned, extra, strict=True):
            values.append(graph.over_axes("Unsqueeze", value, [0]))
    _named(graph, node.output[: len(carried)], carried)
    for name, values in zip(node.output[len(carried) :], scanned, strict=True):
        if name:
            graph.emit("Concat", values, axis=0, output=name)
    return True


def _turns(graph: Graph, node: onnx.NodeProto, body: onnx.GraphProto) -> int | None:
    """How often a Loop goes round; None where that is known only as it runs."""
    count = graph.value(node.input[0]) if node.input[0] else None
    if count is None or not _goes_on(body):
        return None
    if len(node.input) > 1 and node.input[1]:
        condition = graph.value(node.input[1])
        if condition is None:
            return None
        if not condition.any():
            return 0
    return int(count.reshape(-1)[0])


def _named(graph: Graph, outputs: Sequence[str], values: Sequence[str]) -> None:
    """Give values the names of a node's outputs."""
    for name, value in zip(outputs, values, strict=False):
        if name:
            graph.emit("Identity", [value], output=name)


def _goes_on(body: onnx.GraphProto) -> bool:
    """Whether a Loop's body never ends it: its condition is passed on, or is a constant."""
    condition, passed = body.output[0].name, body.input[1].name
    for node in reversed(body.node):
        if condition == passed:
            return True
        if condition in node.output:
            if node.op_type == "Identity":
                condition = node.input[0]
            elif node.op_type == "Constant":
                return bool(numpy_helper.to_array(node.attribute[0].t).reshape(-1)[0])
            else:
                return False
    initial = next((t for t in body.initializer if t.name == condition), None)
    if initial is not None:
        return bool(numpy_helper.to_array(initial).reshape(-1)[0])
    return bool(condition == passed)


def _scan(graph: Graph, node: onnx.NodeProto) -> bool:
    said = attributes(node)
    body: onnx.GraphProto = said["body"]
    if graph.opset < 9:
        return _scan_of_batches(graph, node)
    scans = int(said["num_scan_inputs"])
    states, sequences = list(node.input[:-scans]), list(node.input[-scans:])
    axes = said.get("scan_input_axes", [0] * scans)
    backward = said.get("scan_input_directions", [0] * scans)
    shape = graph.shape(sequences[0])
    if shape is None or shape[axes[0]] > LONGEST:
        return False
    turns = shape[axes[0]]
    scanned: list[list[str]] = [[] for _ in node.output[len(states) :]]
    out_axes = said.get("scan_output_axes", [0] * len(scanned))
    for turn in range(turns):
        given = [
            graph.emit(
                "Gather",
                [value, graph.const(_int64(turns - 1 - turn if back else turn))],
                axis=axis,
            )
            for value, axis, back in zip(sequences, axes, backward, strict=True)
        ]
        results = copied(graph, body, [*states, *given])
        states = results[: len(states)]
        for values, value, axis in zip(scanned, results[len(states) :], out_axes, strict=True):
            values.append(graph.over_axes("Unsqueeze", value, [axis]))
    directions = said.get("scan_output_directions", [0] * len(scanned))
    _named(graph, node.output[: len(states)], states)
    for name, values, axis, back in zip(
        node.output[len(states) :], scanned, out_axes, directions, strict=True
    ):
        if name:
            graph.emit("Concat", values[::-1] if back else values, axis=axis, output=name)
    return True


def _scan_of_batches(graph: Graph, node: onnx.NodeProto) -> bool:
    """Scan of version 8: each sample of a batch has a scan of its own."""
    said = attributes(node)
    body: onnx.GraphProto = said["body"]
    scans = int(said["num_scan_inputs"])
    if node.input[0]:
        return False
    values = list(node.input[1:])
    states, sequences = values[:-scans], values[-scans:]
    shape = graph.shape(sequences[0])
    if shape is None or shape[0] * shape[1] > LONGEST:
        return False
    ended: list[list[str]] = [[] for _ in states]
    scanned: list[list[str]] = [[] for _ in node.output[len(states) :]]
    for sample in range(shape[0]):
        now = [_taken(graph, value, sample) for value in states]
        mine = [_taken(graph, value, sample) for value in sequences]
        steps: list[list[str]] = [[] for _ in scanned]
        for turn in range(shape[1]):
            results = copied(graph, body, [*now, *(_taken(graph, v, turn) for v in mine)])
            now = results[: len(now)]
            for kept, value in zip(steps, results[len(now) :], strict=True):
                kept.append(graph.over_axes("Unsqueeze", value, [0]))
        for kept, value in zip(ended, now, strict=True):
            kept.append(graph.over_axes("Unsqueeze", value, [0]))
        for kept, part in zip(scanned, steps, strict=True):
            whole = graph.emit("Concat", part, axis=0)
            kept.append(graph.over_axes("Unsqueeze", whole, [0]))
    for name, parts in zip(node.output, [*ended, *scanned], strict=True):
        if name:
            graph.emit("Concat", parts, axis=0, output=name)
    return True


def _taken(graph: Graph, value: str, index: int) -> str:
    return graph.emit("Gather", [value, graph.const(_int64(index))], axis=0)


def copied(graph: Graph, body: onnx.GraphProto, given: list[str]) -> list[str]:
    """A body's nodes, beside the graph's own; the names of its outputs there."""
    names = {value.name: source for value, source in zip(body.input, given, strict=True)}
    for tensor in body.initializer:
        names[tensor.name] = graph.const(numpy_helper.to_array(tensor), "inner")
    for node in body.node:
        for output in node.output:
            if output:
                names[output] = graph.fresh(output)
    for node in body.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        _renamed(copy, names)
        copy.name = graph.fresh(node.name or "node")
        graph.made.append(copy)
        if copy.op_type == "Constant":
            graph.know(copy)
    return [names.get(value.name, value.name) for value in body.output]


def _renamed(node: onnx.NodeProto, names: dict[str, str]) -> None:
    """Give a node, and what its own bodies read from outside, other names."""
    node.input[:] = [names.get(name, name) for name in node.input]
    node.output[:] = [names.get(name, name) for name in node.output]
    for attribute in node.attribute:
        if attribute.type != onnx.AttributeProto.GRAPH:
            continue
        inner = attribute.g
        own = {v.name for v in inner.input} | {t.name for t in inner.initializer}
        own |= {name for n in inner.node for name in n.output}
        outside = {old: new for old, new in names.items() if old not in own}
        for nested in inner.node:
            _renamed(nested, outside)
        for value in inner.output:
            value.name = outside.get(value.name, value.name)


def _int64(value: int) -> Array:
    return np.array(value, np.int64)


def _true() -> Array:
    return np.array(True)  # an element, not an option
