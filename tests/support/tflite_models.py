"""TensorFlow Lite files of one operator or a few, written by TensorFlow's own schema.

A model is said as the tensors that it has, by name, and its operators in the order in which they
run; what TensorFlow Lite's reference kernels give for it is what everything else is compared with.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

Array = npt.NDArray[Any]
TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64,
    "int16": schema.TensorType.INT16,
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
    "bool": schema.TensorType.BOOL,
}


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """A tensor; `value` where it is a constant, `scale` and `zero` where it is quantised."""

    shape: tuple[int, ...]
    kind: str = "int8"
    scale: Sequence[float] = ()
    zero: Sequence[int] = ()
    axis: int = 0
    value: Array | None = None


@dataclass(frozen=True, kw_only=True)
class Operator:
    """An operator by its name in the schema; `options` by the names that they have there."""

    name: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    options: str = ""
    settings: Mapping[str, Any] | None = None


def constant(value: Array, scale: Sequence[float] = (), axis: int = 0) -> Tensor:
    """A constant; of integers with a scale, symmetric."""
    return Tensor(
        shape=value.shape,
        kind=value.dtype.name,
        scale=scale,
        zero=[0] * len(scale),
        axis=axis,
        value=value,
    )


def model(
    tensors: Mapping[str, Tensor],
    operators: Sequence[Operator],
    inputs: Sequence[str] = ("x",),
    outputs: Sequence[str] = ("y",),
) -> bytes:
    """The bytes of a file."""
    made, numbers = schema.ModelT(), {name: n for n, name in enumerate(tensors)}
    made.version = 3
    made.buffers = [schema.BufferT()]
    graph = schema.SubGraphT()
    graph.tensors = []
    for name, tensor in tensors.items():
        graph.tensors.append(_tensor(name, tensor, made.buffers))
    graph.inputs = [numbers[name] for name in inputs]
    graph.outputs = [numbers[name] for name in outputs]
    codes = sorted({operator.name for operator in operators})
    made.operatorCodes = [_code(name) for name in codes]
    graph.operators = [_operator(one, numbers, codes) for one in operators]
    made.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(made.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def reference(content: bytes, given: Sequence[Array]) -> list[Array]:
    """What TensorFlow Lite's reference kernels give for inputs in the file's order."""
    return references(content, [given])[0]


def references(content: bytes, samples: Sequence[Sequence[Array]]) -> list[list[Array]]:
    """The same of one inference after another."""
    kernels = tf.lite.experimental.OpResolverType.BUILTIN_REF
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it will be removed in a later TensorFlow
        interpreter = tf.lite.Interpreter(
            model_content=content, experimental_op_resolver_type=kernels, num_threads=1
        )
    interpreter.allocate_tensors()
    made = []
    for given in samples:
        for detail, array in zip(interpreter.get_input_details(), given, strict=True):
            interpreter.set_tensor(detail["index"], array)
        interpreter.invoke()
        outputs = interpreter.get_output_details()
        made.append([interpreter.get_tensor(detail["index"]).copy() for detail in outputs])
    return made


def _code(name: str) -> schema.OperatorCodeT:
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = 1
    return code


def _operator(one: Operator, numbers: Mapping[str, int], codes: Sequence[str]) -> schema.OperatorT:
    made = schema.OperatorT()
    made.opcodeIndex = codes.index(one.name)
    made.inputs = [numbers[name] if name else -1 for name in one.inputs]
    made.outputs = [numbers[name] for name in one.outputs]
    if one.options:
        made.builtinOptionsType = getattr(schema.BuiltinOptions, one.options)
        options = getattr(schema, f"{one.options}T")()
        for name, value in (one.settings or {}).items():
            assert hasattr(options, name), name
            setattr(options, name, value)
        made.builtinOptions = options
    return made


def _tensor(name: str, tensor: Tensor, buffers: list[schema.BufferT]) -> schema.TensorT:
    made = schema.TensorT()
    made.name, made.shape, made.type = name, list(tensor.shape), TYPES[tensor.kind]
    made.buffer = 0
    if tensor.value is not None:
        made.buffer = len(buffers)
        held = schema.BufferT()
        held.data = np.frombuffer(np.ascontiguousarray(tensor.value).tobytes(), np.uint8)
        buffers.append(held)
    if len(tensor.scale):
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale = list(tensor.scale)
        made.quantization.zeroPoint = list(tensor.zero)
        made.quantization.quantizedDimension = tensor.axis
    return made
