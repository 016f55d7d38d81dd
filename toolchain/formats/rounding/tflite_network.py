"""A .tflite file's only graph as it is imported: tensors with their rounding, and operators.

The tables are those of TensorFlow Lite's schema.fbs, version 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from toolchain.core.errors import ModelError
from toolchain.formats.rounding import flatbuffer
from toolchain.formats.rounding.flatbuffer import Table

# By TensorType's numbers; what isn't here (strings, resources, four bits) can't be imported.
TYPES = {
    0: "float32",
    1: "float16",
    2: "int32",
    3: "uint8",
    4: "int64",
    6: "bool",
    7: "int16",
    9: "int8",
    10: "float64",
}
# The builtin operators by number: BuiltinOperator of schema.fbs, 2.21.
_LISTED = """
ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE
EMBEDDING_LOOKUP FLOOR FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D
LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1
RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM
CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER BATCH_TO_SPACE_ND
SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE
BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM
CAST PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE
SIN TRANSPOSE_CONV SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW
ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK
REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR
LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS
WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE
NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM
BATCH_MATMUL PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG
REAL COMPLEX_ABS HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL
CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL
BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD
UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM ATAN2 UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR
RIGHT_SHIFT STABLEHLO_LOGISTIC STABLEHLO_ADD STABLEHLO_DIVIDE STABLEHLO_MULTIPLY
STABLEHLO_MAXIMUM STABLEHLO_RESHAPE STABLEHLO_CLAMP STABLEHLO_CONCATENATE
STABLEHLO_BROADCAST_IN_DIM STABLEHLO_CONVOLUTION STABLEHLO_SLICE STABLEHLO_CUSTOM_CALL
STABLEHLO_REDUCE STABLEHLO_ABS STABLEHLO_AND STABLEHLO_COSINE STABLEHLO_EXPONENTIAL
STABLEHLO_FLOOR STABLEHLO_LOG STABLEHLO_MINIMUM STABLEHLO_NEGATE STABLEHLO_OR STABLEHLO_POWER
STABLEHLO_REMAINDER STABLEHLO_RSQRT STABLEHLO_SELECT STABLEHLO_SUBTRACT STABLEHLO_TANH
STABLEHLO_SCATTER STABLEHLO_COMPARE STABLEHLO_CONVERT STABLEHLO_DYNAMIC_SLICE
STABLEHLO_DYNAMIC_UPDATE_SLICE STABLEHLO_PAD STABLEHLO_IOTA STABLEHLO_DOT_GENERAL
STABLEHLO_REDUCE_WINDOW STABLEHLO_SORT STABLEHLO_WHILE STABLEHLO_GATHER STABLEHLO_TRANSPOSE
DILATE STABLEHLO_RNG_BIT_GENERATOR REDUCE_WINDOW STABLEHLO_COMPOSITE STABLEHLO_SHIFT_LEFT
STABLEHLO_CBRT STABLEHLO_CASE
"""
NAMES = tuple(_LISTED.split())
# Operators that round float32 as it comes where their weights, the second input, are integers.
HYBRID = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
ROUNDED = ("int8", "uint8", "int16")
CUSTOM = 32
# The fields of each table, by their place in the schema.
OPERATOR_CODES, SUBGRAPHS, BUFFERS = 1, 2, 4  # of Model
TENSORS, INPUTS, OUTPUTS, OPERATORS = 0, 1, 2, 3  # of SubGraph
LARGEST = 1 << 31  # bytes of a tensor
DAMAGES = (flatbuffer.DamagedError, IndexError, OverflowError, TypeError)
# Inputs of operators that compute with what their steps stand for, by place; others may only move
# whole numbers.
STEPPED = {
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"), (0, 1)),
    "TRANSPOSE_CONV": (1, 2),
    **dict.fromkeys(("DEQUANTIZE", "LOGISTIC", "SOFTMAX", "TANH", "HARD_SWISH"), (0,)),
}


class NotImportedError(Exception):
    """The network has something that isn't imported here: what, by operator and tensor."""


@dataclass(frozen=True, kw_only=True)
class Rounding:
    """What a tensor's integers stand for: scale * (steps - zero).

    Attributes:
        scale: one for all, or one for each index of `axis`; finite and above 0.
        zero: as many.
        axis: of the channels.
    """

    scale: npt.NDArray[np.float32]
    zero: npt.NDArray[np.int64]
    axis: int


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """A tensor of the graph; `value` where it is a constant, `rounding` where it is quantised."""

    name: str
    shape: tuple[int, ...]
    kind: str
    value: npt.NDArray[np.generic] | None
    rounding: Rounding | None
    is_variable: bool

    @property
    def scale(self) -> np.float32:
        """Of a tensor that has one for all its values.

        Raises:
            NotImportedError: it has none, or several.
        """
        if self.rounding is None or self.rounding.scale.size != 1:
            raise NotImportedError(f"tensor {self.name} has no single scale")
        found: np.float32 = self.rounding.scale[0]
        return found

    @property
    def zero(self) -> int:
        """The zero point of a tensor that has one scale."""
        assert self.rounding is not None
        return int(self.rounding.zero[0])


@dataclass(frozen=True, kw_only=True)
class Operator:
    """An operator: `inputs` and `outputs` are indices of tensors, -1 for one that is left out."""

    name: str
    number: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Table | None

    def option(self, field: int, form: str, default: float = 0) -> int:
        """A whole number of its options by its place there."""
        return int(self.options.number(field, form, default)) if self.options else int(default)

    def real(self, field: int, default: float = 0) -> float:
        """A float32 of its options."""
        return float(self.options.number(field, "f", default)) if self.options else default


@dataclass(frozen=True, kw_only=True)
class Network:
    """The graph, its operators in the order in which they run."""

    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[Operator, ...]

    @property
    def is_quantised(self) -> bool:
        """Whether an operator computes in steps: it takes or makes some that are no constant."""
        return any(
            self.tensors[n].rounding is not None and self.tensors[n].value is None
            for operator in self.operators
            for n in (*operator.inputs, *operator.outputs)
            if n >= 0
        )

    @property
    def hybrid_layers(self) -> tuple[tuple[Operator, Tensor], ...]:
        """Products of float32 by constant weights of int8, with these."""
        found = []
        for operator in self.operators:
            x, weights = (self._given(operator, place) for place in (0, 1))
            if operator.name not in HYBRID or x is None or weights is None:
                continue
            held = weights.value is not None and weights.rounding is not None
            if x.kind == "float32" and weights.kind == "int8" and held:
                found.append((operator, weights))
        return tuple(found)

    @property
    def hybrid_operators(self) -> int:
        """How many operators take both float32 and constants that are rounded."""
        return sum(
            {"float32", "rounded"}
            <= {
                "rounded" if one.rounding is not None and one.value is not None else one.kind
                for one in (self._given(operator, n) for n in range(len(operator.inputs)))
                if one is not None
            }
            for operator in self.operators
        )

    def _given(self, operator: Operator, place: int) -> Tensor | None:
        """An input of an operator, if it has one there."""
        inputs = operator.inputs
        return self.tensors[inputs[place]] if place < len(inputs) and inputs[place] >= 0 else None


def read(content: bytes) -> Network:
    """The network of a file.

    Args:
        content: its bytes.

    Raises:
        ModelError: the file is damaged, or a quantisation parameter can't be one; the error names
            operator and tensor.
        NotImportedError: it has several graphs, open sizes, or types that aren't imported here.
    """
    try:
        return _read(content)
    except DAMAGES as error:
        raise _damaged(error) from error


def _damaged(error: Exception) -> ModelError:
    return ModelError(
        "the TFLite file is damaged, or was cut short",
        detail=str(error),
        resolution="copy it again, or convert the model again",
    )


def check_parameters(content: bytes) -> None:
    """Refuse a file with a quantisation parameter that can't be one, in any of its graphs.

    What isn't imported here, such as open sizes, is none of it.

    Args:
        content: its bytes.

    Raises:
        ModelError: the file is damaged, or an operator works on steps whose scale or zero point is
            missing, zero, not finite, or of another length than its axis; the error names both.
    """
    try:
        model = flatbuffer.root(content)
        codes = [_name(code) for code in model.tables(OPERATOR_CODES)]
        for graph in model.tables(SUBGRAPHS):
            _check_graph(graph, codes)
    except DAMAGES as error:
        raise _damaged(error) from error


def _check_graph(graph: Table, codes: list[str]) -> None:
    tables = list(graph.tables(TENSORS))
    operators = _operators(graph, codes, len(tables))
    users = _users(operators)
    for number, table in enumerate(tables):
        kind = TYPES.get(int(table.number(1, "b")))
        described = table.table(4)
        if kind in ROUNDED and described is not None:
            shape = tuple(int(size) for size in table.array(0, "int32"))
            _rounding(described, table.text(3), shape, users.get(number))
    for operator in operators:
        needed = STEPPED.get(operator.name, ())
        for number in (n for place in needed for n in operator.inputs[place : place + 1] if n >= 0):
            table, described = tables[number], tables[number].table(4)
            missing = described is None or not described.array(2, "float32").size
            if missing and TYPES.get(int(table.number(1, "b"))) in ROUNDED:
                raise _not_a_parameter(operator, table.text(3), "its scale is missing")


def _operators(graph: Table, codes: list[str], tensors: int) -> tuple[Operator, ...]:
    return tuple(
        Operator(
            name=codes[int(table.number(0, "I"))],
            number=number,
            inputs=_indices(table, 1, tensors),
            outputs=_indices(table, 2, tensors),
            options=table.table(4),
        )
        for number, table in enumerate(graph.tables(OPERATORS))
    )


def _users(operators: tuple[Operator, ...]) -> dict[int, Operator]:
    """An operator that takes or gives a tensor, by the tensor's number."""
    return {n: operator for operator in operators for n in (*operator.outputs, *operator.inputs)}


def _read(content: bytes) -> Network:
    model = flatbuffer.root(content)
    graphs = list(model.tables(SUBGRAPHS))
    if len(graphs) != 1:
        raise NotImportedError(f"the file has {len(graphs)} graphs")
    (graph,) = graphs
    buffers = list(model.tables(BUFFERS))
    described = [_described(table) for table in graph.tables(TENSORS)]
    codes = [_name(code) for code in model.tables(OPERATOR_CODES)]
    operators = _operators(graph, codes, len(described))
    users = _users(operators)
    tensors = tuple(
        _tensor(table, buffers, users.get(number)) for number, table in enumerate(described)
    )
    return Network(
        tensors=tensors,
        inputs=_indices(graph, INPUTS, len(tensors)),
        outputs=_indices(graph, OUTPUTS, len(tensors)),
        operators=operators,
    )


def _described(table: Table) -> Table:
    signature = table.array(7, "int32")
    if (signature < 0).any():
        raise NotImportedError(f"tensor {table.text(3)} has open sizes")
    return table


def _indices(table: Table, field: int, tensors: int) -> tuple[int, ...]:
    found = tuple(int(n) for n in table.array(field, "int32"))
    if any(n < -1 or n >= tensors for n in found):
        raise flatbuffer.DamagedError(f"tensors {found}, of {tensors}")
    return found


def _name(code: Table) -> str:
    # files of before there were more than 127 have the older field alone
    number = max(int(code.number(0, "b")), int(code.number(3, "i")))
    if number == CUSTOM:
        return code.text(1) or "CUSTOM"
    return NAMES[number] if 0 <= number < len(NAMES) else f"operator {number}"


def _tensor(table: Table, buffers: list[Table], user: Operator | None) -> Tensor:
    name, shape = table.text(3), tuple(int(size) for size in table.array(0, "int32"))
    number = int(table.number(1, "b"))
    if number not in TYPES:
        raise NotImportedError(f"tensor {name} is of type {number}")
    kind = TYPES[number]
    if any(size < 0 for size in shape):
        raise flatbuffer.DamagedError(f"tensor {name} has sizes {shape}")
    count = math.prod(shape)
    if count * np.dtype(kind).itemsize > LARGEST:
        raise flatbuffer.DamagedError(f"tensor {name} of {count} values")
    held = buffers[int(table.number(2, "I"))].array(0, "uint8")
    value = None
    if held.size:
        if held.size != count * np.dtype(kind).itemsize:
            raise flatbuffer.DamagedError(f"tensor {name} has {held.size} bytes for {shape}")
        value = held.view(kind).reshape(shape)
    described = table.table(4)
    return Tensor(
        name=name,
        shape=shape,
        kind=kind,
        value=value,
        rounding=_rounding(described, name, shape, user)
        if described is not None and kind in ROUNDED
        else None,
        is_variable=bool(table.number(5, "b")),
    )


def _rounding(
    table: Table, name: str, shape: tuple[int, ...], user: Operator | None
) -> Rounding | None:
    scale, zero = table.array(2, "float32"), table.array(3, "int64")
    axis = int(table.number(6, "i"))
    if not scale.size:
        return None
    if not zero.size:
        zero = np.zeros(scale.size, np.int64)
    why = ""
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        why = "a scale that is zero, negative or not finite"
    elif zero.size != scale.size:
        why = f"{scale.size} scales and {zero.size} zero points"
    elif scale.size > 1 and (not 0 <= axis < len(shape) or scale.size != shape[axis]):
        why = f"{scale.size} scales along axis {axis} of {shape}"
    if why:
        raise _not_a_parameter(user, name, why)
    return Rounding(scale=scale, zero=zero, axis=axis)


def _not_a_parameter(user: Operator | None, tensor: str, why: str) -> ModelError:
    return ModelError(
        "a quantisation parameter of the TFLite file can't be used",
        detail=f"operator {user.name if user else 'none'}, tensor {tensor}: {why}",
        resolution="convert the model again",
    )
