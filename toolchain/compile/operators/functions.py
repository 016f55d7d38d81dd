"""Operators that ONNX defines as functions of others, taken apart by that definition.

ONNX's own inliner knows neither inputs that a node leaves out nor attributes that have their
default; so the function of each node is made here, with both said, and inlined as a local one.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import defs, inliner

from toolchain.compile.operators.graph import Graph, opset

# TVM lacks these, or computes something else.
FUNCTIONS = {
    "AffineGrid", "Attention", "BlackmanWindow", "CausalConvWithState", "Celu", "CenterCropPad",
    "HammingWindow", "HannWindow", "LinearAttention", "RMSNormalization", "RotaryEmbedding",
    "SwiGLU", "Swish",
}  # fmt: skip
DOMAIN = "edgewright.functions"  # of the functions until they are inlined


def inline(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without the operators of FUNCTIONS; the same object if it has none.

    Args:
        model: with types inferred.

    Raises:
        Exception: ONNX's own, for a node whose definition contradicts what it is given.
    """
    if not any(_is_function(node) for node in model.graph.node):
        return model
    version, graph, count = opset(model), Graph(model), 0
    taken = onnx.ModelProto()
    taken.CopyFrom(model)
    for node in taken.graph.node:
        if not _is_function(node):
            continue
        schema = defs.get_schema(node.op_type, version, "")
        _say_defaults(node, schema)
        function = _definition(graph, node, schema, version)
        if function is None:
            continue
        count += 1
        function.name, function.domain = f"{node.op_type}_{count}", DOMAIN
        node.op_type, node.domain = function.name, DOMAIN
        taken.functions.append(function)
    if not count:
        return model
    taken.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
    taken = inliner.inline_local_functions(taken)
    left = [entry for entry in taken.opset_import if entry.domain != DOMAIN]
    del taken.opset_import[:]
    taken.opset_import.extend(left)
    return taken


def _is_function(node: onnx.NodeProto) -> bool:
    return node.op_type in FUNCTIONS and node.domain in ("", "ai.onnx")


def _say_defaults(node: onnx.NodeProto, schema: defs.OpSchema) -> None:
    """Give a node the attributes that it leaves to their defaults."""
    said = {attribute.name for attribute in node.attribute}
    for name, attribute in schema.attributes.items():
        if name not in said and attribute.default_value.name:
            node.attribute.append(attribute.default_value)


def _definition(
    graph: Graph, node: onnx.NodeProto, schema: defs.OpSchema, version: int
) -> onnx.FunctionProto | None:
    """What ONNX says an operator consists of, for what a node is given."""
    function = onnx.FunctionProto()
    if schema.has_context_dependent_function:
        given = [_type(graph, name).SerializeToString() for name in node.input]
        newest = _newest(schema.context_dependent_function_opset_versions, version)
        function.ParseFromString(
            schema.get_context_dependent_function_with_opset_version(
                newest, node.SerializeToString(), given
            )
        )
    elif schema.has_function:
        newest = _newest(schema.function_opset_versions, version)
        function.ParseFromString(schema.get_function_with_opset_version(newest))
    for entry in function.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = version  # the inliner takes those of the graph's own version alone
    return function if function.node else None


def _newest(versions: Sequence[int], version: int) -> int:
    """The last of a definition's versions that a graph's opset may use."""
    return max((found for found in versions if found <= version), default=version)


def _type(graph: Graph, name: str) -> onnx.TypeProto:
    kind = onnx.TypeProto()
    tensor = graph.constants.get(name)
    if tensor is not None:
        kind.tensor_type.elem_type = tensor.data_type
        for size in tensor.dims:
            kind.tensor_type.shape.dim.add().dim_value = size
    elif name in graph.values:
        kind.tensor_type.CopyFrom(graph.values[name])
    return kind
