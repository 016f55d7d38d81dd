"""Which operators a TensorFlow graph may have: those that compute on tensors, by an allow-list.

TensorFlow has 1,900 operators. Some read and write files (`ReadFile`, `WriteFile`, `SaveV2`), talk
to servers, run Python or take bytes apart, and a graph may call any of them, while it is imported
even, where constants are folded. What a graph is made of is read here as data, before TensorFlow
imports it.

A SavedModel always holds the functions that saved it and would restore it. TensorFlow calls neither
when it loads one, so these alone may have the operators of `SAVING`, and only where nothing that
the model runs reaches them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tensorflow.python.framework import op_def_registry

from toolchain.core.errors import ModelError

_LIST = Path(__file__).with_suffix(".txt")
ALLOWED = frozenset(
    name
    for line in _LIST.read_text().splitlines()
    if not line.startswith("#")
    for name in line.split()
)
SAVING = frozenset(
    (
        "SaveV2",
        "RestoreV2",
        "MergeV2Checkpoints",
        "ShardedFilename",
        "SaveSlices",
        "Save",
        "Restore",
    )
)
# collections of graphs from before signatures, that name what is run when a graph is loaded
RUN_AT_START = ("main_op", "legacy_init_op", "saved_model_main_op")


def refuse_other_in_graph(graph: Any, name: str) -> None:
    """Refuse a GraphDef with an operator that isn't allowed, in its graph or its functions.

    Args:
        graph: the parsed protocol buffer; nothing of it was imported.
        name: of its file.

    Raises:
        ModelError: it has some; they are named.
    """
    _refuse(_others((graph.node, *_functions(graph).values()), _called_by_name(graph)), name)


def refuse_other_in_saved_model(model: Any, name: str) -> None:
    """Refuse a SavedModel with an operator that isn't allowed.

    Args:
        model: the parsed protocol buffer; nothing of it was loaded.
        name: of its folder.

    Raises:
        ModelError: it has some; they are named.
    """
    found: set[str] = set()
    for meta in model.meta_graphs:
        graph, called = meta.graph_def, _called_by_name(meta.graph_def)
        functions = _functions(graph)
        run = _run(meta)
        reached = _reached([*_named(run), *_of_objects(meta)], graph, functions)
        found |= _others((run, *(functions[one] for one in reached)), called)
        rest = (graph.node, *(nodes for one, nodes in functions.items() if one not in reached))
        found |= _others(rest, called) - SAVING
    _refuse(found, name)


def _refuse(found: set[str], name: str) -> None:
    if found:
        raise ModelError(
            f"{name} has operators that no model may run here: {', '.join(sorted(found))}",
            detail="only those that compute on tensors may: others read or write files, take bytes "
            "apart, talk to servers or run code",
            resolution="export the network alone, as a function of its input tensors",
        )


def _others(parts: Iterable[Iterable[Any]], called: set[str]) -> set[str]:
    """The operators of some lists of nodes that are neither allowed nor a call."""
    return {node.op for nodes in parts for node in nodes} - ALLOWED - called


def _called_by_name(graph: Any) -> set[str]:
    """The functions whose name may stand for an operator: none that TensorFlow has itself."""
    return {name for name in _functions(graph) if op_def_registry.get(name) is None}


def _functions(graph: Any) -> dict[str, Any]:
    """The nodes of each function of a graph's library."""
    return {one.signature.name: one.node_def for one in graph.library.function}


def _run(meta: Any) -> list[Any]:
    """The nodes that a signature, or what is run at the start, needs of a graph."""
    nodes = {node.name: node for node in meta.graph_def.node}
    wanted = [info.name for one in meta.signature_def.values() for info in _outputs(one)]
    for name in RUN_AT_START:
        wanted += meta.collection_def[name].node_list.value if name in meta.collection_def else ()
    seen: dict[str, Any] = {}
    while wanted:
        name = wanted.pop().removeprefix("^").partition(":")[0]
        if name in nodes and name not in seen:
            seen[name] = nodes[name]
            wanted += nodes[name].input
    return list(seen.values())


def _outputs(signature: Any) -> Iterator[Any]:
    """The tensors of a signature's outputs, those of composite tensors too."""
    for info in signature.outputs.values():
        yield info
        yield from info.composite_tensor.components
        if info.HasField("coo_sparse"):
            sparse = info.coo_sparse
            names = (
                sparse.values_tensor_name,
                sparse.indices_tensor_name,
                sparse.dense_shape_tensor_name,
            )
            yield from (type(info)(name=name) for name in names)


def _of_objects(meta: Any) -> Iterator[str]:
    """The functions that a SavedModel's objects have, which loading or a caller may run."""
    yield from meta.object_graph_def.concrete_functions
    for node in meta.object_graph_def.nodes:
        yield from node.function.concrete_functions
        yield node.bare_concrete_function.concrete_function_name


def _named(nodes: Iterable[Any]) -> Iterator[str]:
    """The functions that nodes call: by their operator, or by an attribute."""
    for node in nodes:
        yield node.op
        for attribute in node.attr.values():
            yield attribute.func.name
            yield from (function.name for function in attribute.list.func)


def _reached(names: Iterable[str], graph: Any, functions: Mapping[str, Any]) -> set[str]:
    """The functions of a library that are named, or called by one that is, or are its gradient."""
    gradients = {one.function_name: one.gradient_func for one in graph.library.gradient}
    wanted, seen = list(names), set[str]()
    while wanted:
        name = wanted.pop()
        if name in functions and name not in seen:
            seen.add(name)
            wanted += [*_named(functions[name]), gradients.get(name, "")]
    return seen
