"""A network of TensorFlow's: run, frozen, and of the frozen graph made TFLite and ONNX."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
import tf2onnx.graph
import tf2onnx.optimizer
from onnx import shape_inference
from tensorflow.python.eager.wrap_function import function_from_graph_def
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tf2onnx.graph import GraphUtil

from toolchain.core.errors import ModelError
from toolchain.formats.graphs import tf2onnx_operators
from toolchain.formats.shapes import tensors_of
from toolchain.formats.signature import Signature, Tensor

if TYPE_CHECKING:
    from toolchain.formats.network import Array

OPSET = 17
INPUT, OUTPUT = "input", "output"
# What keeps a function from being inlined, and what one without is called beside its own name.
_MARKS, _UNMARKED = ("_XlaMustCompile", "_noinline"), "_unmarked"
# Operators whose operands may have any rank: there a constant of rank 0 is as good as one of [1].
BROADCASTING = {"Add", "Sub", "Mul", "Div"}


# A function of one set of inputs, as TensorFlow runs it.
Call = Callable[..., Any]


def settle() -> None:
    """One thread and only deterministic kernels: the same weights in, the same bytes out."""
    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(0)


def freeze(call: Call, inputs: Sequence[Tensor]) -> Any:
    """The network as a concrete function of its inputs, its weights constants.

    All sizes are fixed: TFLite's XNNPACK delegate takes no node of a graph with an open dimension
    in it, and TVM plans memory only for shapes it knows.

    Args:
        call: the network, which takes an argument for each input.
        inputs: their names, types and shapes.

    Raises:
        ModelError: it keeps state from one inference to the next.
    """
    function = tf.function(call, autograph=False)
    specs = [tf.TensorSpec(t.shape, t.dtype, name=_operator_name(t.name)) for t in inputs]
    concrete = function.get_concrete_function(*specs)
    operators = {operator.type for operator in concrete.graph.get_operations()}
    assigned = {name for name in operators if re.fullmatch(r"Assign\w*VariableOp", name)}
    if assigned:
        raise _keeps_state(assigned)
    frozen = _inlined(convert_variables_to_constants_v2(concrete))
    given = [t for t in frozen.inputs if t.dtype != tf.resource]
    left = {op.type for op in frozen.graph.get_operations() if "Variable" in op.type}
    if len(given) != len(specs) or left:
        raise _keeps_state(left)
    return frozen


def _keeps_state(operators: Collection[str]) -> ModelError:
    return ModelError(
        "the model keeps state from one inference to the next within itself",
        detail=f"operators: {', '.join(sorted(operators))}",
        resolution="export it with its state as inputs and outputs; docs/how-to/your-model.md says "
        "how such a network is taken",
    )


def _inlined(frozen: Any) -> Any:
    """A frozen function without calls of functions that are marked to be compiled by XLA.

    Those are left where all others are inlined. Keras calls a grouped convolution by one, as
    TensorFlow's own kernel for CPUs has no groups; TensorFlow Lite and ONNX have.
    """
    if not any(o.type.endswith("PartitionedCall") for o in frozen.graph.get_operations()):
        return frozen
    graph = frozen.graph.as_graph_def()
    functions = graph.library.function
    for function in functions:
        _unmark(function.attr)
        function.signature.name += _UNMARKED  # TensorFlow keeps one of a name in a process
    for node in (*graph.node, *(node for function in functions for node in function.node_def)):
        _unmark(node.attr)
        for attribute in node.attr.values():
            for called in (attribute.func, *attribute.list.func):
                if called.name:  # to set even an empty one makes it an attribute of functions
                    called.name += _UNMARKED
    names = [[tensor.name for tensor in of] for of in (frozen.inputs, frozen.outputs)]
    return convert_variables_to_constants_v2(function_from_graph_def(graph, *names))


def _unmark(attributes: Any) -> None:
    for mark in _MARKS:
        attributes.pop(mark, None)


def _operator_name(name: str) -> str:
    """A name that TensorFlow takes for an operator."""
    return re.sub(r"[^A-Za-z0-9_.]", "_", name).lstrip("_.") or INPUT


def run(function: Any, feeds: Sequence[Array]) -> list[Array]:
    """One inference as TensorFlow runs it.

    Args:
        function: a `tf.function` of the network.
        feeds: an array for each argument.
    """
    return [np.asarray(t) for _, t in tensors_of(function(*map(tf.constant, feeds)))]


def to_tflite(
    graph: Any, configure: Callable[[tf.lite.TFLiteConverter], None] | None = None
) -> bytes:
    """The frozen function as a TFLite model; its inputs and outputs keep their types.

    Args:
        graph: from `freeze`.
        configure: sets the converter up for another form than float32.

    Raises:
        ModelError: it has operators that TFLite's own set, or that form, lacks.
    """
    converter = tf.lite.TFLiteConverter.from_concrete_functions([graph])
    if configure is not None:
        configure(converter)
    try:
        made: bytes = converter.convert()
    except Exception as error:  # ConverterError, and what MLIR raises through pybind11
        names = sorted(set(re.findall(r"tf\.(\w+) ?\(tensor|'tf\.(\w+)' op", str(error))))
        operators = ", ".join(a or b for a, b in names)
        raise ModelError(
            f"TensorFlow Lite has no operator for: {operators}"
            if operators
            else "the model can't be converted to TensorFlow Lite",
            detail=str(error)[:2000],
            resolution="replace those layers, or give the model as ONNX, for TVM alone",
        ) from error
    return made


def settle_tf2onnx() -> None:
    """Make tf2onnx give the same graph in every process, and keep few copies of it.

    Its optimisers walk sets of nodes, in the order of their addresses: another graph each run. By
    name, the order is the same (PYTHONHASHSEED is fixed in `worker`).

    Before each of them it copies the whole graph, weights too, and only Python's search for cycles
    frees a copy, which waits for many new objects and not for much memory: ResNet-50, with 0.1 GB
    of weights, took 11.4 GB. TensorFlow's own objects need no search.
    """
    tf2onnx.graph.Node.__hash__ = _hash_by_name
    gc.freeze()
    optimisers = tf2onnx.optimizer._optimizers  # noqa: SLF001 (no other way in)
    for name, optimiser in optimisers.items():
        if not isinstance(optimiser, partial):
            optimisers[name] = partial(_begun_tidy, optimiser)


def to_onnx(graph: Any, name: str, signature: Signature) -> onnx.ModelProto:
    """The frozen function as ONNX.

    Args:
        graph: from `freeze`.
        name: of the ONNX graph.
        signature: what its inputs and outputs are called.

    Raises:
        ModelError: it has operators that ONNX lacks.
    """
    settle_tf2onnx()
    sources, sinks = [t.name for t in graph.inputs], [t.name for t in graph.outputs]
    names = dict(zip(sources, (t.name for t in signature.inputs), strict=True))
    names |= dict(zip(sinks, (t.name for t in signature.outputs), strict=True))
    try:
        made, _ = tf2onnx.convert.from_graph_def(
            graph.graph.as_graph_def(),
            name=name,
            input_names=sources,
            output_names=sinks,
            opset=OPSET,
            tensors_to_rename=names,
            custom_op_handlers=dict(tf2onnx_operators.HANDLERS),
        )
        return _without_transposes(made)
    except Exception as error:  # tf2onnx raises ValueError, RuntimeError, KeyError, ...
        raise ModelError(
            "the model can't be converted to ONNX",
            detail=str(error)[:2000],
            resolution="replace the operators named above, or export the model to ONNX yourself "
            "and give that file",
        ) from error


def _begun_tidy(optimiser: Callable[[], Any]) -> Any:
    gc.collect()
    return optimiser()


def _hash_by_name(node: tf2onnx.graph.Node) -> int:
    return hash(node.name)


def _without_transposes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Run tf2onnx's optimisation once more, on a graph that it can finish.

    Its transpose optimiser stops with an exception at an addition of a constant of rank 0
    (tf2onnx 1.17, transpose_optimizer._add_handler) and leaves a transpose on either side of every
    convolution: 128 in MobileNetV3-Large, 1 when the constants have rank 1.
    """
    users: dict[str, set[str]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, set()).add(node.op_type)
    for constant in model.graph.initializer:
        if not constant.dims and users.get(constant.name, set()) <= BROADCASTING:
            constant.dims.append(1)
    better = GraphUtil.optimize_model_proto(model)
    onnx.checker.check_model(better)
    return shape_inference.infer_shapes(better)
