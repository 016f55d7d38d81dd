"""Arithmetic over what is known before a network runs: shapes, axes, sizes, conditions.

What exporters compute in the graph although it is fixed (a Reshape's target of the image's height,
an If over a length) TVM's importer wants as constants. ONNX Runtime evaluates it all at once; what
it can't (an operator newer than it, an element type that NumPy lacks) ONNX's own reference does,
node by node; and what neither can stays in the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from toolchain.compile.operators.graph import Array, Graph, constant_of
from toolchain.formats import onnx_reference

# Weights stay in integers: what multiplies them decides how.
KEPT = {"DequantizeLinear", "QuantizeLinear", "Constant", "If", "Loop", "Scan"}
RANDOM = {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial",
          "Bernoulli"}  # fmt: skip
LARGEST = 1 << 22  # elements of a value that is made a constant
NESTED = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)


def name_constants(model: onnx.ModelProto) -> None:
    """Make initializers of a graph's Constant nodes, in place; of all but strings."""
    kept = []
    for node in model.graph.node:
        tensor = constant_of(node) if node.op_type == "Constant" and not node.domain else None
        if tensor is None:
            kept.append(node)
        else:
            model.graph.initializer.append(tensor)
    if len(kept) < len(model.graph.node):
        del model.graph.node[:]
        model.graph.node.extend(kept)


def fold(model: onnx.ModelProto) -> bool:
    """Make constants of what depends on constants and known shapes alone, in place.

    Args:
        model: with shapes inferred, and no Constant nodes.

    Returns:
        whether something was folded.
    """
    graph = Graph(model)
    known = _empty(graph)
    nodes: list[onnx.NodeProto] = []
    reachable = {*graph.constants, *known}
    for node in graph.proto.node:
        if all(name in known for name in node.output if name):
            continue
        fixed = _of_a_shape(graph, node)
        if fixed is not None:
            known[node.output[0]] = fixed
            reachable.add(node.output[0])
        elif _foldable(graph, node, reachable):
            nodes.append(node)
            reachable.update(name for name in node.output if name)
    known |= _evaluated(model, graph, nodes, known)
    made = {name for node in graph.proto.node for name in node.output}
    known = {name: value for name, value in known.items() if name in made}
    kept = [
        node for node in graph.proto.node if not all(name in known for name in node.output if name)
    ]
    if len(kept) == len(graph.proto.node):
        return False
    needed = {name for node in kept for name in _read(node)}
    needed |= {value.name for value in graph.proto.output}
    still = {name for node in kept for name in node.output}
    for name, value in known.items():
        if name in needed and name not in still:
            graph.proto.initializer.append(numpy_helper.from_array(value, name))
    del graph.proto.node[:]
    graph.proto.node.extend(kept)
    return True


def _empty(graph: Graph) -> dict[str, Array]:
    """Values of no elements, which are known whatever they are computed of."""
    found: dict[str, Array] = {}
    for name in graph.values:
        shape, kind = graph.shape(name), graph.type(name)
        if shape is not None and 0 in shape and kind and name not in graph.constants:
            found[name] = np.zeros(shape, helper.tensor_dtype_to_np_dtype(kind))
    return found


def _of_a_shape(graph: Graph, node: onnx.NodeProto) -> Array | None:
    """What Shape and Size of a value of known shape give."""
    if node.op_type not in ("Shape", "Size") or node.domain not in ("", "ai.onnx"):
        return None
    shape = graph.shape(node.input[0])
    if shape is None:
        return None
    if node.op_type == "Size":
        return np.array(np.prod(shape, dtype=np.int64), np.int64)
    ends = {a.name: a.i for a in node.attribute}
    return np.array(shape[slice(ends.get("start", 0), ends.get("end"))], np.int64)


def _foldable(graph: Graph, node: onnx.NodeProto, reachable: set[str]) -> bool:
    if node.op_type in KEPT | RANDOM or node.domain not in ("", "ai.onnx"):
        return False
    if any(attribute.type in NESTED for attribute in node.attribute):
        return False
    if not all(name in reachable for name in node.input if name):
        return False
    sizes = [graph.shape(name) for name in node.output if name]
    return all(size is None or np.prod(size, dtype=np.int64) <= LARGEST for size in sizes)


def _evaluated(
    model: onnx.ModelProto, graph: Graph, nodes: list[onnx.NodeProto], known: dict[str, Array]
) -> dict[str, Array]:
    """What nodes over constants give, by the names of their outputs; some may stay unknown."""
    try:
        return _run(model, graph, nodes, known)
    except Exception:  # noqa: BLE001 # ONNX Runtime's exceptions share no public base
        found: dict[str, Array] = {}
        for node in nodes:
            there = {**known, **found}
            if all(name in there or name in graph.constants for name in node.input if name):
                found |= _evaluated_alone(model, graph, node, there)
        return found


def _evaluated_alone(
    model: onnx.ModelProto, graph: Graph, node: onnx.NodeProto, known: dict[str, Array]
) -> dict[str, Array]:
    """What one node gives by ONNX Runtime or by ONNX's reference; nothing if neither knows."""
    for reference in (False, True):
        try:
            return _run(model, graph, [node], known, reference=reference)
        except Exception:  # noqa: BLE001, S112 # of many kinds, and each means the same: not by this
            continue
    return {}


def _run(
    model: onnx.ModelProto,
    graph: Graph,
    nodes: Sequence[onnx.NodeProto],
    known: dict[str, Array],
    *,
    reference: bool = False,
) -> dict[str, Array]:
    if not nodes:
        return {}
    names = [name for node in nodes for name in node.output if name]
    read = {name for node in nodes for name in node.input if name} - set(names)
    tensors = []
    for name in sorted(read):
        tensor = onnx.TensorProto()
        tensor.CopyFrom(
            numpy_helper.from_array(known[name], name) if name in known else graph.constants[name]
        )
        tensor.name = name
        tensors.append(tensor)
    part = helper.make_graph(
        nodes, "constants", [], [onnx.ValueInfoProto(name=name) for name in names], tensors
    )
    alone = helper.make_model(part, opset_imports=model.opset_import)
    alone.ir_version = model.ir_version
    if reference:
        from onnx.reference import ReferenceEvaluator

        results: Any = ReferenceEvaluator(alone).run(None, {})
    else:
        results = onnx_reference.run(alone, {})
    return {name: np.asarray(value) for name, value in zip(names, results, strict=True)}


def _read(node: onnx.NodeProto) -> set[str]:
    """All names that a node reads, in its subgraphs too."""
    names = set(node.input)
    for attribute in node.attribute:
        graphs = [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else attribute.graphs
        for graph in graphs:
            for inner in graph.node:
                names |= _read(inner)
            names |= {value.name for value in graph.output}
    return names
