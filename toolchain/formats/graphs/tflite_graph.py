"""A TFLite model: its signature, its batch fixed, run, and to ONNX.

In ONNX its integers are QuantizeLinear and DequantizeLinear around each operator.

TVM 0.27's own reader of TFLite files knows no float16, int16 or hybrid operators; tf2onnx knows
all that the converter writes, but for the biases of int16 networks, which are int64.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import tensorflow as tf
import tf2onnx
from onnx import numpy_helper, version_converter
from onnx.reference import ReferenceEvaluator
from tensorflow.lite.tools import flatbuffer_utils

from toolchain.core.errors import ModelError
from toolchain.formats.graphs import tensorflow_graph
from toolchain.formats.network import Network
from toolchain.formats.shapes import refuse_unless_one

OPSET = 17
OPSET_INT16 = 21  # the first whose QuantizeLinear knows int16


class TfliteNetwork(Network):
    """A TFLite file that was read.

    Args:
        content: its bytes.

    Raises:
        ModelError: as `input_shape`.
    """

    is_tflite = True

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.shape = input_shape(content)

    def run(self, x: npt.NDArray[np.float32], batch: int) -> npt.NDArray[np.float32]:
        """All samples through it, by TensorFlow Lite."""
        return run(with_batch(self.content, batch), x, batch)

    def to_tflite(self, shape: tuple[int, ...]) -> bytes:
        """The file with its batch fixed."""
        return with_batch(self.content, shape[0])

    def to_onnx(self, shape: tuple[int, ...], name: str) -> onnx.ModelProto:
        """By tf2onnx."""
        with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
            Path(file.name).write_bytes(self.to_tflite(shape))
            return to_onnx(Path(file.name), name)


def run(content: bytes, x: npt.NDArray[np.float32], batch: int) -> npt.NDArray[np.float32]:
    """All samples (samples, ...) through a TFLite model with a fixed batch, on one thread."""
    interpreter = tf.lite.Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    sink = interpreter.get_output_details()[0]["index"]
    outputs = []
    for start in range(0, len(x), batch):
        interpreter.set_tensor(source, x[start : start + batch])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(sink).copy())
    return np.concatenate(outputs)


def to_onnx(path: Path, name: str) -> onnx.ModelProto:
    """The network of a .tflite file, its input and output named as ours.

    Raises:
        ModelError: it has operators that tf2onnx doesn't know; the error names them.
    """
    tensorflow_graph.settle_tf2onnx()
    try:
        made, _ = tf2onnx.convert.from_tflite(str(path), opset=OPSET)
    except Exception as error:  # tf2onnx raises ValueError, KeyError, RuntimeError, ...
        raise ModelError(
            "the TFLite form can't be converted to ONNX, and so not be compiled by TVM",
            detail=str(error)[:2000],
            resolution="run this form by TensorFlow Lite alone",
        ) from error
    made.graph.name = name
    if _has_int16(made):
        _fold_long_biases(made)
        made = version_converter.convert_version(made, OPSET_INT16)
    _rename(made, made.graph.input[0].name, tensorflow_graph.INPUT)
    _rename(made, made.graph.output[0].name, tensorflow_graph.OUTPUT)
    unknown = sorted({n.op_type for n in made.graph.node if n.op_type.startswith("TFL_")})
    if unknown:
        raise ModelError(
            f"ONNX has no operator for TensorFlow Lite's {', '.join(unknown)}",
            resolution="run this form by TensorFlow Lite alone",
        )
    fold_shapes(made)
    onnx.checker.check_model(made)
    return onnx.shape_inference.infer_shapes(made)


def input_shape(content: bytes) -> tuple[int | None, ...]:
    """The shape of a TFLite model's input; None is an open dimension.

    Raises:
        ModelError: it can't be read, or has not one float32 input and one float32 output.
    """
    try:
        interpreter = tf.lite.Interpreter(model_content=content, num_threads=1)
    except ValueError as error:
        raise ModelError(
            "the file can't be read as a TFLite model, or was cut short",
            detail=str(error),
            resolution="copy it again, or convert the model again",
        ) from error
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    for what, found in (("input", inputs), ("output", outputs)):
        refuse_unless_one(
            what, [(t["name"], _signature(t), np.dtype(t["dtype"]).name) for t in found]
        )
    return _signature(inputs[0])


def _signature(tensor: dict[str, Any]) -> tuple[int | None, ...]:
    return tuple(None if d < 0 else int(d) for d in tensor["shape_signature"])


def with_batch(content: bytes, batch: int) -> bytes:
    """The model with its open batch fixed: in every tensor whose first dimension is open.

    XNNPACK takes no node of a graph with an open dimension, and TVM plans for known shapes.
    """
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    opened = 0
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if tensor.shapeSignature is not None and -1 in list(tensor.shapeSignature):
                tensor.shape = [batch, *list(tensor.shape)[1:]]
                tensor.shapeSignature = None
                opened += 1
    if not opened:
        return content
    fixed: bytes = flatbuffer_utils.convert_object_to_bytearray(model)
    return bytes(fixed)


def _has_int16(model: onnx.ModelProto) -> bool:
    return any(t.data_type == onnx.TensorProto.INT16 for t in model.graph.initializer)


def _fold_long_biases(model: onnx.ModelProto) -> None:
    """Constants of int64 that are dequantised become float32: no ONNX operator takes them."""
    constants = {t.name: t for t in model.graph.initializer}

    def value(name: str) -> npt.NDArray[np.float64]:
        found: npt.NDArray[np.float64] = numpy_helper.to_array(constants[name]).astype(np.float64)
        return found

    for node in list(model.graph.node):
        source = constants.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if source is None or source.data_type != onnx.TensorProto.INT64:
            continue
        real = (value(node.input[0]) * value(node.input[1])).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(real, node.output[0]))
        model.graph.node.remove(node)


def fold_shapes(model: onnx.ModelProto) -> None:
    """Replace what is computed of known shapes by its value.

    A flattening that was converted with an open batch asks for its input's shape at run time, and
    TVM imports no reshape whose shape isn't a constant.
    """
    constants = {t.name: t for t in model.graph.initializer}
    known: dict[str, npt.NDArray[np.generic]] = {}
    for node in list(model.graph.node):
        if node.op_type == "Shape":
            inferred = onnx.shape_inference.infer_shapes(model).graph
            values = (*inferred.value_info, *inferred.input)
            dims = [v.type.tensor_type.shape.dim for v in values if v.name == node.input[0]]
            if not dims or not all(d.HasField("dim_value") for d in dims[0]):
                continue
            found = [np.array([d.dim_value for d in dims[0]], np.int64)]
        elif any(name in known for name in node.input) and all(
            name in known or name in constants for name in node.input if name
        ):
            given = {
                name: known[name] if name in known else numpy_helper.to_array(constants[name])
                for name in node.input
                if name
            }
            found = ReferenceEvaluator(node).run(None, given)
        else:
            continue
        model.graph.node.remove(node)
        for name, value in zip(node.output, found, strict=True):
            known[name] = value
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))


def _rename(model: onnx.ModelProto, old: str, new: str) -> None:
    """Give a tensor of the graph another name; TFLite's are long and of the source's layers."""
    for node in model.graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        if value.name == old:
            value.name = new
