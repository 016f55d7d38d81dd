"""A TFLite model: its signature, its batch fixed, run, and to ONNX.

In ONNX its integers are QuantizeLinear and DequantizeLinear around each operator.

TVM 0.27's own reader of TFLite files knows no float16, int16 or hybrid operators; tf2onnx knows
all that the converter writes, but for the biases of int16 networks, which are int64.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx
import tensorflow as tf
import tf2onnx
from onnx import defs, numpy_helper, version_converter
from onnx.reference import ReferenceEvaluator
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

from toolchain.core.errors import ModelError
from toolchain.formats.graphs import (
    onnx_graph,
    tensorflow_graph,
    tf2onnx_operators,
    tflite_metadata,
    tflite_operators,
    tflite_signature,
)
from toolchain.formats.network import Described, Network
from toolchain.formats.rounding import tflite_network
from toolchain.formats.signature import Signature, Tensor

if TYPE_CHECKING:
    from toolchain.formats.network import Array, Arrays

OPSET = 17
ROUNDED = {schema.TensorType.INT8, schema.TensorType.UINT8, schema.TensorType.INT16}
VARIABLES = {
    name: getattr(schema.BuiltinOperator, name)
    for name in ("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE")
}
OPSET_BITWISE = 18  # the first that has BitwiseXor
OPSET_INT16 = 21  # the first whose QuantizeLinear knows int16


class TfliteNetwork(Network):
    """A TFLite file that was read.

    Args:
        content: its bytes.

    Raises:
        ModelError: it can't be read, has operators of its own that TensorFlow Lite lacks, or a
            quantisation parameter that can't be one.
    """

    is_tflite = True

    def __init__(self, content: bytes) -> None:
        self.content = content
        tflite_network.check_parameters(content)
        self.signature = tflite_signature.read(content)
        self._interpreters: dict[tuple[tuple[int, ...], ...], tf.lite.Interpreter] = {}

    def described(self) -> Described | None:
        """Labels and normalisation, where the file has TFLite Metadata."""
        return tflite_metadata.read(self.content)

    def run(self, feeds: Arrays) -> dict[str, Array]:
        """By TensorFlow Lite."""
        shapes = tuple(feeds[t.name].shape for t in self.signature.inputs)
        if shapes not in self._interpreters:
            content = with_shapes(self.content, shapes)
            self._interpreters = {shapes: interpreter(content)}
        given = [feeds[t.name] for t in self.signature.inputs]
        found = run(self._interpreters[shapes], given)
        return dict(zip((t.name for t in self.signature.outputs), found, strict=True))

    def to_tflite(self, inputs: Sequence[Tensor]) -> bytes:
        """The file with its shapes fixed."""
        return with_shapes(self.content, [t.shape for t in inputs])

    def to_onnx(self, inputs: Sequence[Tensor], name: str) -> onnx.ModelProto:
        """By tf2onnx."""
        _refuse_kept_state(self.content)
        with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
            Path(file.name).write_bytes(self.to_tflite(inputs))
            made = to_onnx(Path(file.name), name, self.signature)
        if _rounds(self.content):
            onnx_graph.say_rounds(made)
        return made


def _refuse_kept_state(content: bytes) -> None:
    """Refuse a file that keeps values from one inference to the next: ONNX has no variables.

    Raises:
        ModelError: it does; the error names the operators.
    """
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    codes = {code.builtinCode for code in model.operatorCodes}
    found = [name for name, code in VARIABLES.items() if code in codes]
    if found:
        raise ModelError(
            "the network keeps its state in itself, which ONNX can't say, nor TVM compile",
            detail=f"operators {', '.join(found)}",
            resolution="run this form by TensorFlow Lite alone, or convert the model again with "
            "its state as inputs and outputs",
        )


def _rounds(content: bytes) -> bool:
    """Whether a file has tensors of 8 or 16 bits with a scale.

    Where only its weights are such, TensorFlow Lite rounds what multiplies them while it runs, and
    nothing in the ONNX graph says so.
    """
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    return any(
        tensor.type in ROUNDED
        and tensor.quantization is not None
        # a numpy array, or None
        and tensor.quantization.scale is not None
        and len(tensor.quantization.scale)
        for graph in model.subgraphs
        for tensor in graph.tensors
    )


def interpreter(content: bytes) -> tf.lite.Interpreter:
    """An interpreter on one thread that is ready to run.

    Raises:
        ModelError: TensorFlow Lite can't run it; the error names the operator.
    """
    made = tf.lite.Interpreter(model_content=content, num_threads=1)
    try:
        made.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise _cant_run(str(error)) from error
    return made


def _cant_run(message: str) -> ModelError:
    """The error for a file that can't be made ready; one that it has no operator for is named."""
    own = re.search(r"unresolved custom op: (\w+)", message)
    if own is not None:
        return ModelError(
            f"operator {own[1]} is its maker's own, which no runtime here has",
            detail=message,
            resolution="take a file without it; or export the network from before that operator, "
            "and compute it beside it",
        )
    return ModelError(
        "TensorFlow Lite can't run the model",
        detail=message,
        resolution="where a node contradicts the sizes, give others with --shape or --batch",
    )


def run(of: tf.lite.Interpreter, given: Sequence[Array]) -> list[Array]:
    """One inference; inputs and outputs in the file's own order.

    Raises:
        ModelError: TensorFlow Lite can't run it; the error names the node.
    """
    for detail, array in zip(of.get_input_details(), given, strict=True):
        of.set_tensor(detail["index"], np.asarray(array, order="C"))
    try:
        of.invoke()
    except (RuntimeError, ValueError) as error:
        raise ModelError("TensorFlow Lite can't run the model", detail=str(error)) from error
    return [of.get_tensor(detail["index"]).copy() for detail in of.get_output_details()]


def to_onnx(path: Path, name: str, wanted: Signature) -> onnx.ModelProto:
    """The network of a .tflite file.

    Args:
        path: the file.
        name: of the graph.
        wanted: what its inputs and outputs become, in the order that the file itself has them.

    Raises:
        ModelError: it has operators that tf2onnx doesn't know; the error names them.
    """
    tensorflow_graph.settle_tf2onnx()
    bitwise = "BITWISE_XOR" in tflite_operators.counted(path.read_bytes())
    try:
        made, _ = tf2onnx.convert.from_tflite(
            str(path),
            opset=OPSET_BITWISE if bitwise else OPSET,
            custom_op_handlers=dict(tf2onnx_operators.HANDLERS),
        )
    except Exception as error:  # tf2onnx raises ValueError, KeyError, RuntimeError, ...
        raise ModelError(
            "the TFLite form can't be converted to ONNX, and so not be compiled by TVM",
            detail=str(error)[:2000],
            resolution="run this form by TensorFlow Lite alone",
        ) from error
    made.graph.name = name
    tf2onnx_operators.write_out(made)
    if _has_int16(made):
        _fold_long_biases(made)
        made = version_converter.convert_version(made, OPSET_INT16)
    for value, tensor in zip(made.graph.input, wanted.inputs, strict=True):
        _rename(made, value.name, tensor.name)
    for value, tensor in zip(made.graph.output, wanted.outputs, strict=True):
        _rename(made, value.name, tensor.name)
    unknown = {n.op_type for n in made.graph.node if not (n.domain or defs.has(n.op_type))}
    if unknown:
        named = ", ".join(sorted(name.removeprefix("TFL_") for name in unknown))
        raise ModelError(
            f"ONNX has no operator for TensorFlow Lite's {named}",
            resolution="run this form by TensorFlow Lite alone",
        )
    fold_shapes(made)
    try:
        onnx.checker.check_model(made)
        return onnx.shape_inference.infer_shapes(made)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(
            "the ONNX graph that tf2onnx made of the TFLite form breaks ONNX's rules",
            detail=str(error)[:2000],
            resolution="run this form by TensorFlow Lite alone",
        ) from error


def with_shapes(content: bytes, shapes: Sequence[tuple[int, ...]]) -> bytes:
    """The model with its open dimensions fixed.

    XNNPACK takes no node of a graph with an open dimension, and TVM plans for known shapes.

    Args:
        content: the model.
        shapes: of its inputs, in its own order.

    Raises:
        ModelError: a node contradicts the shapes; the error names it.
    """
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    opened = [
        tensor
        for graph in model.subgraphs
        for tensor in graph.tensors
        if tensor.shapeSignature is not None and -1 in list(tensor.shapeSignature)
    ]
    inputs = [model.subgraphs[0].tensors[index] for index in model.subgraphs[0].inputs]
    if not any(tensor is one for tensor in opened for one in inputs):
        return content  # what is open depends on values
    if all(list(tensor.shapeSignature).index(-1) == 0 for tensor in opened) and all(
        list(tensor.shapeSignature).count(-1) == 1 for tensor in opened
    ):
        for tensor in opened:
            tensor.shape = [shapes[0][0], *list(tensor.shape)[1:]]
            tensor.shapeSignature = None
    else:
        _fix_as_resized(content, model.subgraphs[0], shapes)
    fixed: bytes = flatbuffer_utils.convert_object_to_bytearray(model)
    return bytes(fixed)


def _fix_as_resized(content: bytes, graph: Any, shapes: Sequence[tuple[int, ...]]) -> None:
    """Write into a graph the shapes that the interpreter finds once its inputs have theirs."""
    resized = tf.lite.Interpreter(
        model_content=content,
        num_threads=1,
        experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    for detail, shape in zip(resized.get_input_details(), shapes, strict=True):
        resized.resize_tensor_input(detail["index"], shape)
    try:
        resized.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            "the model contradicts the sizes that were given",
            detail=str(error),
            resolution="give others with --shape or --batch",
        ) from error
    found = {detail["index"]: detail["shape"] for detail in resized.get_tensor_details()}
    for index, tensor in enumerate(graph.tensors):
        if tensor.shapeSignature is not None and -1 in list(tensor.shapeSignature):
            tensor.shape = [int(size) for size in found[index]]
            tensor.shapeSignature = None


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
    found: list[npt.NDArray[np.generic]] | None
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
            found = _evaluated(node, given)
            if found is None:
                continue
        else:
            continue
        model.graph.node.remove(node)
        for name, value in zip(node.output, found, strict=True):
            known[name] = value
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))


def _evaluated(
    node: onnx.NodeProto, given: dict[str, npt.NDArray[np.generic]]
) -> list[npt.NDArray[np.generic]] | None:
    """What a node of constants gives; None where ONNX's reference fails, as it may in any way."""
    try:
        found: list[npt.NDArray[np.generic]] = ReferenceEvaluator(node).run(None, given)
    except Exception:  # noqa: BLE001 - numpy's own; whoever takes the graph says what is wrong
        return None
    return found


def _rename(model: onnx.ModelProto, old: str, new: str) -> None:
    """Give a tensor of the graph another name; TFLite's are long and of the source's layers."""
    _rename_within(model.graph, old, new)
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        if value.name == old:
            value.name = new


def _rename_within(graph: onnx.GraphProto, old: str, new: str) -> None:
    """The same in its nodes, and in bodies that read it from outside."""
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _rename_within(attribute.g, old, new)
                for value in attribute.g.output:
                    if value.name == old:
                        value.name = new
