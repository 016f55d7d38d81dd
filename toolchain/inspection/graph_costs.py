"""What one inference of an ONNX graph takes, from its shapes."""

from __future__ import annotations

import math
from collections.abc import Iterable

import onnx
from onnx import TensorProto, helper, shape_inference

from toolchain.inspection.requests import Costs

# how many products of matrices one step of a recurrent cell is
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
CONVOLUTIONS = {"Conv", "ConvInteger", "QLinearConv"}
PRODUCTS = {"MatMul", "MatMulInteger", "QLinearMatMul"}

Shape = tuple[int, ...]


def costs(model: onnx.ModelProto) -> Costs:
    """Parameters, multiply-adds and memory of a graph.

    Args:
        model: with known shapes of its inputs. What is inside of branches and loops is not counted.

    Returns:
        a multiply-add is one multiplication with its addition; sums over operators follow ONNX's
        definitions of them. Activations are counted from where they are made to their last use.
    """
    inferred = shape_inference.infer_shapes(model).graph
    weights = {t.name: t for t in inferred.initializer}
    shapes: dict[str, Shape] = {name: tuple(t.dims) for name, t in weights.items()}
    sizes = {name: math.prod(t.dims) * _bytes(t.data_type) for name, t in weights.items()}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        kind = value.type.tensor_type
        dims = tuple(d.dim_value for d in kind.shape.dim)
        if kind.HasField("shape") and all(dims):
            shapes[value.name] = dims
            sizes[value.name] = math.prod(dims) * _bytes(kind.elem_type)
    return Costs(
        parameters=sum(math.prod(t.dims) for t in weights.values()),
        weights_bytes=int(_sum(weights, sizes)),
        multiply_adds=sum(_multiply_adds(node, shapes) for node in inferred.node),
        activations_bytes=int(
            _alive(inferred, {n: s for n, s in sizes.items() if n not in weights})
        ),
    )


def _multiply_adds(node: onnx.NodeProto, shapes: dict[str, Shape]) -> int:
    """Of one node; 0 where its shapes are not known."""
    given = [shapes.get(name) for name in node.input]
    made = shapes.get(node.output[0]) if node.output else None
    if node.op_type in CONVOLUTIONS:
        weights = given[3 if node.op_type == "QLinearConv" else 1]
        # each output takes the channels of one group times the kernel
        return math.prod(made) * math.prod(weights[1:]) if made and weights else 0
    if node.op_type == "ConvTranspose":
        x, weights = given[0], given[1]
        return math.prod(x) * math.prod(weights[1:]) if x and weights else 0
    if node.op_type in PRODUCTS:
        return math.prod(made) * given[0][-1] if made and given[0] else 0
    if node.op_type == "Gemm":
        transposed = any(a.name == "transA" and a.i for a in node.attribute)
        return math.prod(made) * given[0][0 if transposed else 1] if made and given[0] else 0
    if node.op_type in GATES:
        x, w, r = given[:3]
        # W: (directions, gates * hidden, input), R: (directions, gates * hidden, hidden)
        return math.prod(x[:2]) * (math.prod(w) + math.prod(r)) if x and w and r else 0
    return 0


def _alive(graph: onnx.GraphProto, sizes: dict[str, float]) -> float:
    """The most bytes of activations that are alive at once."""
    last = {name: n for n, node in enumerate(graph.node) for name in node.input}
    last |= {value.name: len(graph.node) for value in graph.output}
    alive = {value.name for value in graph.input} & sizes.keys()
    most = _sum(alive, sizes)
    for number, node in enumerate(graph.node):
        alive |= set(node.output) & sizes.keys()
        most = max(most, _sum(alive, sizes))
        alive = {name for name in alive if last.get(name, -1) > number}
    return most


def _sum(names: Iterable[str], sizes: dict[str, float]) -> float:
    return sum(sizes[name] for name in names)


def _bytes(kind: int) -> float:
    if kind in (TensorProto.INT4, TensorProto.UINT4, TensorProto.FLOAT4E2M1):
        return 0.5
    return float(helper.tensor_dtype_to_np_dtype(kind).itemsize)
