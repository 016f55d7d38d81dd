"""An ONNX graph that computes in 16-bit floats, written in float32.

What a network of float16 or bfloat16 gives depends on where each library rounds: ONNX Runtime on a
desktop CPU between some of its operators, a GPU between others, TVM between all of them. None of
these is the network; its weights and its arithmetic without rounding are. And where the CPU has no
arithmetic in 16 bits, float32 is also what is fastest. Values that are rounded on purpose, by a
Cast, are rounded here too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx
    from onnx import NodeProto, TensorProto

# By the numbers of ONNX's TensorProto.DataType, the narrowest last.
KINDS = {10: "float16", 16: "bfloat16"}
WIDE = 1  # float32
# Attributes that hold a type of elements.
TYPES = {
    *("dtype", "output_datatype", "output_dtype", "precision", "softmax_precision", "stash_type"),
    "to",
}
CASTS = {"Cast", "CastLike"}
BITS = {"BitCast"}  # read the bits of a value, which are others in float32
COMPUTES = "edgewright.computes"  # metadata of a graph that was made of one that computes so

Types = Mapping[str, int]


def kind(model: onnx.ModelProto) -> str:
    """The narrowest of the 16-bit floats that a graph computes in; empty where it does in none.

    Weights that are stored so and read as float32 are no arithmetic, nor are inputs.

    Args:
        model: with types inferred or not.

    Returns:
        "bfloat16", "float16" or "".
    """
    for one in model.metadata_props:
        if one.key == COMPUTES:
            return str(one.value)
    if not _mentions(model):
        return ""
    return _narrowest(_computed(_typed(model)))


def widened(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that computes in float32, its inputs and outputs as they were.

    Args:
        model: valid, with types inferred or not.

    Returns:
        the model itself when it computes in no 16-bit floats, or reads their bits.
    """
    if not _mentions(model):
        return model
    typed = _typed(model)
    computed = _computed(typed)
    if not computed or any(node.op_type in BITS for node in _nodes(typed.graph)):
        return model
    graph = typed.graph
    types, names = _types(graph), _Names(graph)
    typed.metadata_props.add(key=COMPUTES, value=_narrowest(computed))
    _widen(graph, types, names)
    before, after = _edges(graph, types, names)
    body = list(graph.node)
    del graph.node[:]
    graph.node.extend([*before, *body, *after])
    return typed


def _narrowest(found: set[int]) -> str:
    return max((KINDS[one] for one in found), key=tuple(KINDS.values()).index, default="")


class _Names:
    """New names in a graph."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._taken = {name for node in _nodes(graph) for name in (*node.input, *node.output)}
        self._taken |= {tensor.name for tensor in graph.initializer}
        self._taken |= {value.name for value in graph.input}

    def of(self, name: str, what: str) -> str:
        """A name that says what it is of."""
        new, count = f"{name}__{what}", 1
        while new in self._taken:
            new, count = f"{name}__{what}{count}", count + 1
        self._taken.add(new)
        return new


def _mentions(model: onnx.ModelProto) -> bool:
    """Whether 16-bit floats are named anywhere that inference could find them from."""
    if model.functions:
        return True
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info]
    if any(value.type.tensor_type.elem_type in KINDS for value in values):
        return True
    if any(tensor.data_type in KINDS for tensor in model.graph.initializer):
        return True
    return any(
        (attribute.name in TYPES and attribute.i in KINDS) or attribute.t.data_type in KINDS
        for node in _nodes(model.graph)
        for attribute in node.attribute
    )


def _typed(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with functions inlined and types inferred."""
    from onnx import inliner, shape_inference

    if model.functions:
        model = inliner.inline_local_functions(model)
    return shape_inference.infer_shapes(model)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and all that stand in its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            inner = [attribute.g] if attribute.HasField("g") else attribute.graphs
            for one in inner:
                yield from _graphs(one)


def _nodes(graph: onnx.GraphProto) -> Iterator[NodeProto]:
    for one in _graphs(graph):
        yield from one.node


def _types(graph: onnx.GraphProto) -> dict[str, int]:
    """The element type of each value whose type is known, in inner graphs too."""
    found: dict[str, int] = {}
    for one in _graphs(graph):
        for value in (*one.value_info, *one.input, *one.output):
            found[value.name] = value.type.tensor_type.elem_type
        for tensor in one.initializer:
            found[tensor.name] = tensor.data_type
    return found


def _computed(model: onnx.ModelProto) -> set[int]:
    """The 16-bit floats among the values that depend on an input."""
    graph, types = model.graph, _types(model.graph)
    constants = {tensor.name for tensor in graph.initializer}
    changing = {value.name for value in graph.input} - constants
    found: set[int] = set()
    for node in graph.node:
        inner = [name for body in _inner(node) for each in _nodes(body) for name in each.input]
        if changing.isdisjoint((*node.input, *inner)):
            continue
        changing.update(node.output)
        bodies = [types.get(name, 0) for body in _inner(node) for name in _made(body)]
        found.update(kind for kind in (*(types.get(n, 0) for n in node.output), *bodies))
    return found & set(KINDS)


def _inner(node: NodeProto) -> list[onnx.GraphProto]:
    return [
        graph
        for attribute in node.attribute
        for graph in ([attribute.g] if attribute.HasField("g") else attribute.graphs)
    ]


def _made(graph: onnx.GraphProto) -> Iterator[str]:
    for node in _nodes(graph):
        yield from node.output


def _widen(graph: onnx.GraphProto, types: Types, names: _Names) -> None:
    """Constants, types that nodes name and what is said of values, in place; inner graphs too."""
    for one in _graphs(graph):
        for tensor in one.initializer:
            _widen_tensor(tensor)
        for value in (*one.value_info, *one.input, *one.output):
            _widen_type(value.type)
        nodes = [made for node in one.node for made in _widened_node(node, types, names)]
        del one.node[:]
        one.node.extend(nodes)


def _widen_tensor(tensor: TensorProto) -> None:
    import numpy as np
    from onnx import numpy_helper

    if tensor.data_type in KINDS:
        value = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))


def _widen_type(kind: onnx.TypeProto) -> None:
    """The elements of a tensor, or of the tensors of a sequence or an optional."""
    for inner in ("sequence_type", "optional_type"):
        if kind.HasField(inner):
            _widen_type(getattr(kind, inner).elem_type)
    if kind.tensor_type.elem_type in KINDS:
        kind.tensor_type.elem_type = WIDE


def _widened_node(node: NodeProto, types: Types, names: _Names) -> list[NodeProto]:
    """What stands for a node; a Cast that rounds still does."""
    made = types.get(node.output[0], 0) if node.output else 0
    if node.op_type in CASTS and made in KINDS:
        if types.get(node.input[0]) == made:
            return [_cast(node.input[0], node.output[0], WIDE, node.name)]
        rounded = names.of(node.output[0], KINDS[made])
        return [
            _cast(node.input[0], rounded, made, node.name),
            _cast(rounded, node.output[0], WIDE, ""),
        ]
    for attribute in node.attribute:
        if attribute.name in TYPES and attribute.i in KINDS:
            attribute.i = WIDE
        if attribute.HasField("t"):
            _widen_tensor(attribute.t)
        for tensor in attribute.tensors:
            _widen_tensor(tensor)
    return [node]


def _edges(
    graph: onnx.GraphProto, types: Types, names: _Names
) -> tuple[list[NodeProto], list[NodeProto]]:
    """Give a graph's inputs and outputs their types again, in place; the Casts at both ends."""
    inputs = {value.name: value for value in graph.input}
    before, after, renamed = [], [], {}
    for value in graph.input:
        if types[value.name] in KINDS:
            value.type.tensor_type.elem_type = types[value.name]
            renamed[value.name] = names.of(value.name, "wide")
            before.append(_cast(value.name, renamed[value.name], WIDE, ""))
    for value in graph.output:
        if types[value.name] in KINDS:
            value.type.tensor_type.elem_type = types[value.name]
            if value.name not in inputs:
                renamed[value.name] = names.of(value.name, "wide")
                after.append(_cast(renamed[value.name], value.name, types[value.name], ""))
    _rename(graph, renamed)
    return before, after


def _rename(graph: onnx.GraphProto, renamed: Mapping[str, str]) -> None:
    """Use other names for values, but for those of the graph's own inputs and outputs."""
    for one in _graphs(graph):
        for node in one.node:
            node.input[:] = [renamed.get(name, name) for name in node.input]
            node.output[:] = [renamed.get(name, name) for name in node.output]
        said = [*one.initializer, *one.value_info]
        if one is not graph:
            said += one.output  # a body may give out what is computed outside of it
        for each in said:
            each.name = renamed.get(each.name, each.name)


def _cast(source: str, to: str, elements: int, name: str) -> NodeProto:
    from onnx import helper

    return helper.make_node("Cast", [source], [to], name=name, to=elements)
