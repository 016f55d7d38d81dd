"""A network to TFLite and ONNX, both from one frozen graph with a fixed batch.

Frozen and fixed, because TFLite's XNNPACK delegate takes no node of a graph with an open
dimension in it, and because TVM plans memory only for shapes it knows.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import tensorflow as tf
import tf2onnx
import tf2onnx.graph
import tf2onnx.optimizer
from onnx import shape_inference
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tf2onnx.graph import GraphUtil

from toolchain.core.errors import ModelError
from toolchain.formats.tensorflow import Network
from toolchain.models.variants import PLAIN

OPSET = 17
INPUT, OUTPUT = "input", "output"
# Forms whose weights the converter changes, and the operators of those in integers.
OPTIMISED = ("float16", "dynamic", "int8", "int16x8", "qat")
INTEGERS = {
    "int8": tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
    "int16x8": tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
}
# Operators whose operands may have any rank: there a constant of rank 0 is as good as one of [1].
BROADCASTING = {"Add", "Sub", "Mul", "Div"}


def freeze(network: Network, shape: tuple[int, ...]) -> Any:
    """The network as a concrete function of that input, its weights constants."""
    function = tf.function(network.call, autograph=False)
    concrete = function.get_concrete_function(tf.TensorSpec(shape, tf.float32, name=INPUT))
    graph = convert_variables_to_constants_v2(concrete)
    inputs = [t for t in graph.inputs if t.dtype != tf.resource]
    left = sorted({op.type for op in graph.graph.get_operations() if "Variable" in op.type})
    if len(inputs) != 1 or left:
        raise ModelError(
            "the model keeps state from one inference to the next and can't be frozen",
            detail=f"operators left: {', '.join(left)}",
            resolution="export it as a function of its input alone",
        )
    return graph


def run_source(network: Network, x: npt.NDArray[np.float32], batch: int) -> npt.NDArray[np.float32]:
    """All samples through the network as TensorFlow runs it."""
    function = tf.function(network.call, autograph=False)
    pieces = [
        np.asarray(function(tf.constant(x[start : start + batch])), dtype=np.float32)
        for start in range(0, len(x), batch)
    ]
    return np.concatenate(pieces)


def to_tflite(
    frozen: Any, variant: str = PLAIN, calibration: npt.NDArray[np.float32] | None = None
) -> bytes:
    """The frozen function as a TFLite model; its input and output stay float32.

    Args:
        frozen: from `freeze`.
        variant: which form; the ranges of a network that was trained with them are in its graph.
        calibration: whole batches of inputs to measure ranges on, for those that need it.

    Raises:
        ModelError: it has operators that TFLite's own set, or this form, lacks.
    """
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    if variant in OPTIMISED:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        # TensorFlow Lite 2.14, the device's, knows dense layers with one scale for all weights.
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True  # noqa: SLF001
    if variant == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if calibration is not None:
        batch = int(frozen.inputs[0].shape[0])
        converter.representative_dataset = lambda: (
            [calibration[start : start + batch]] for start in range(0, len(calibration), batch)
        )
        # all of it in integers, or none: a form that is half one and half the other is an error
        converter.target_spec.supported_ops = [INTEGERS[variant]]
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


def run_tflite(model: bytes, x: npt.NDArray[np.float32], batch: int) -> npt.NDArray[np.float32]:
    """All samples through a TFLite model."""
    interpreter = tf.lite.Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    sink = interpreter.get_output_details()[0]["index"]
    outputs = []
    for start in range(0, len(x), batch):
        interpreter.set_tensor(source, x[start : start + batch])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(sink).copy())
    return np.concatenate(outputs)


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


def to_onnx(frozen: Any, name: str) -> onnx.ModelProto:
    """The frozen function as ONNX.

    Raises:
        ModelError: it has operators that ONNX lacks.
    """
    settle_tf2onnx()
    source, sink = frozen.inputs[0].name, frozen.outputs[0].name
    try:
        made, _ = tf2onnx.convert.from_graph_def(
            frozen.graph.as_graph_def(),
            name=name,
            input_names=[source],
            output_names=[sink],
            opset=OPSET,
            tensors_to_rename={source: INPUT, sink: OUTPUT},
        )
    except Exception as error:  # tf2onnx raises ValueError, RuntimeError, KeyError, ...
        raise ModelError(
            "the model can't be converted to ONNX",
            detail=str(error)[:2000],
            resolution="replace the operators named above, or export the model to ONNX yourself "
            "and give that file",
        ) from error
    return _without_transposes(made)


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
