"""An ONNX graph as TVM's importer can take it: known arithmetic folded, operators taken apart.

Each module of this folder that has OPERATORS and `rewrite` is a rule for these; one that is not
ONNX's own has its domain before its name. What ONNX defines
as a function of other operators and TVM lacks is taken apart by that definition (`functions`).
Rules see shapes, so shapes are inferred, constants folded and rules applied in turns until nothing
changes. A graph that needs none of it keeps its nodes and their order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import onnx
from onnx import inliner, shape_inference, version_converter

from toolchain.compile import operators
from toolchain.compile.operators import (
    branches,
    folding,
    functions,
    narrow_types,
    recurrent,
    refusal,
    safe_indices,
)
from toolchain.compile.operators.graph import Graph, opset
from toolchain.core import plugins
from toolchain.formats import half_floats

Rule = Callable[[Graph, onnx.NodeProto], bool]
TURNS = 64  # nested bodies and functions of functions; more is a graph that grows
INITIALIZERS = 4  # since this version of the format they need not be inputs too
# The first opset whose Slice has its bounds as inputs, the only form that TVM imports; and what is
# written out with slices.
SLICES = 10
SLICED = {"Slice", *recurrent.OPERATORS}


@functools.cache
def rules() -> dict[str, Rule]:
    """The rule of each operator that has one, by the modules of this folder and the user's."""
    found: dict[str, Rule] = {}
    for module in plugins.modules(operators, operators.KIND):
        for operator in getattr(module, "OPERATORS", ()):
            found[operator] = module.rewrite
    return found


def prepare(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the same values, in operators that TVM's importer knows.

    Args:
        model: with known shapes of its inputs.

    Raises:
        ModelError: a node can't be compiled rightly; the error names it.
        Exception: ONNX's own, for a graph whose shapes contradict each other.
    """
    prepared = onnx.ModelProto()
    prepared.CopyFrom(model)
    prepared.ir_version = max(prepared.ir_version, INITIALIZERS)
    if prepared.functions:
        prepared = inliner.inline_local_functions(prepared)
    prepared = _newer_slices(prepared)
    folding.name_constants(prepared)
    prepared = _inferred(prepared)
    narrow_types.carry(prepared)
    if half_floats.kind(prepared) == "float16":  # TVM itself computes bfloat16 by float32
        prepared = half_floats.widened(prepared)
    chosen: dict[str, onnx.NodeProto] = {}
    for _ in range(TURNS):
        folding.name_constants(prepared)
        prepared = _inferred(prepared)
        inlined = functions.inline(prepared)
        changed = inlined is not prepared
        if changed:
            folding.name_constants(inlined)
            prepared = _inferred(inlined)
        if folding.fold(prepared):
            prepared, changed = _inferred(prepared), True
        if not (_rewritten(prepared, rules()) or changed or _selected(prepared, chosen)):
            break
    branches.refuse_unequal(Graph(prepared), chosen)
    _refuse_without_elements(prepared, model)
    safe_indices.bound(prepared)
    return prepared


def _refuse_without_elements(prepared: onnx.ModelProto, model: onnx.ModelProto) -> None:
    """TVM can't read a library back that has an empty constant, unless its first axis is empty.

    Args:
        prepared: whose outputs may have become constants.
        model: as it was given, whose nodes the error names.
    """
    outputs = {value.name for value in model.graph.output}
    makers = {name: node for node in model.graph.node for name in outputs & {*node.output}}
    for tensor in prepared.graph.initializer:
        if tensor.name in makers and 0 in tensor.dims and tensor.dims[0]:
            shape = f"output {tensor.name} has the shape {list(tensor.dims)}, without elements"
            raise refusal.of(makers[tensor.name], shape)


def _newer_slices(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model in an opset whose slices TVM imports, where ONNX's converter can write it so."""
    if opset(model) >= SLICES or not any(node.op_type in SLICED for node in model.graph.node):
        return model
    try:
        return version_converter.convert_version(model, SLICES)
    except (version_converter.ConvertError, RuntimeError):
        return model  # what is left is refused by the importer, by its node


def _inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    return shape_inference.infer_shapes(model, data_prop=True)


def _selected(model: onnx.ModelProto, chosen: dict[str, onnx.NodeProto]) -> bool:
    """Compute both branches of each If that is left, in place; whether there was one."""
    left = [node for node in model.graph.node if node.op_type == "If"]
    for node in left:
        origin = onnx.NodeProto(op_type=node.op_type, name=node.name)
        origin.input.extend(node.input)
        origin.output.extend(node.output)
        chosen |= dict.fromkeys(node.output, origin)
    return bool(left) and _rewritten(model, {"If": branches.select})


def _rewritten(model: onnx.ModelProto, known: Mapping[str, Rule]) -> bool:
    """Apply each node's rule, in place; whether one changed the graph."""
    graph = Graph(model)
    kept: list[onnx.NodeProto] = []
    changed = False
    for node in list(graph.proto.node):
        own = node.domain in ("", "ai.onnx")
        rule = known.get(node.op_type if own else f"{node.domain}.{node.op_type}")
        graph.made.clear()
        if rule is not None and _applied(rule, graph, node):
            kept += graph.made
            changed = True
        else:
            kept.append(node)
    if changed:
        del graph.proto.node[:]
        graph.proto.node.extend(kept)
        _forget(graph.proto, {name for node in kept for name in node.output})
    return changed


def _applied(rule: Rule, graph: Graph, node: onnx.NodeProto) -> bool:
    """Whether a rule changed the graph.

    Raises:
        ModelError: the rule met what can't be: shapes that contradict each other, attributes that
            are not there; the error names the node.
    """
    try:
        return rule(graph, node)
    except (IndexError, KeyError, TypeError, ValueError) as error:
        why = f"its shapes or attributes contradict each other ({type(error).__name__}: {error})"
        raise refusal.of(node, why) from error


def _forget(proto: onnx.GraphProto, there: set[str]) -> None:
    """Remove what was inferred of values that are gone."""
    left = [value for value in proto.value_info if value.name in there]
    del proto.value_info[:]
    proto.value_info.extend(left)
