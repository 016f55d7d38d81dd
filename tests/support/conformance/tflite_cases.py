"""TFLite's builtin operators, one small file each, as TensorFlow's converter writes them.

Left out are operators that the converter does not write, that draw at random, and that hold
strings, tables or variables, which no network's tensors are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from toolchain.formats.graphs import tflite_operators

Array = npt.NDArray[Any]

SAMPLES = 2  # that int8's ranges are measured on
_random = np.random.default_rng(19)


def _floats(*shape: int) -> Array:
    """Numbers of -1.5 to 1.5."""
    return _random.uniform(-1.5, 1.5, shape).astype(np.float32)


def _above(*shape: int) -> Array:
    """Numbers of 0.2 to 2."""
    return _random.uniform(0.2, 2, shape).astype(np.float32)


def _ints(*values: int) -> Array:
    return np.array(values, np.int32)


def _truths(*shape: int) -> Array:
    return _random.uniform(0, 1, shape) > 0.5


def _updated(x: Any) -> Any:
    from tensorflow.compiler.tf2xla.ops import gen_xla_ops

    return gen_xla_ops.xla_dynamic_update_slice(x, Y[:, :2, :3], [0, 1, 2, 0])


X = _floats(1, 6, 8, 4)
Y = _floats(1, 6, 8, 4)
ABOVE = _above(1, 6, 8, 4)
ROWS = _floats(3, 8)
COUNTS = _ints(7, 2, -5, 9, 4, -3)
DIVISORS = _ints(2, 3, 2, -4, 5, 2)
TRUTHS, OTHERS = _truths(3, 8), _truths(3, 8)
KERNEL, DEEP = _floats(3, 3, 4, 5) * 0.3, _floats(3, 3, 4, 1) * 0.3
SLOPES = np.array([[[-0.1, -0.2, -0.3, -0.4]]], np.float32)
DENSE = _floats(8, 5) * 0.3
VOLUME, SOLID = _floats(1, 4, 5, 6, 2), _floats(2, 2, 2, 2, 3)
BOXES = np.array(
    [[0, 0, 1, 1], [0, 0.1, 1, 1.1], [0, 2, 1, 3], [0, 2.1, 1, 3.05], [4, 4, 5, 5]], np.float32
)
SCORES = np.array([0.9, 0.8, 0.7, 0.95, 0.4], np.float32)

Function = Callable[..., Any]
# name of the operator: what is converted, then what it is given
ONE: dict[str, Function] = {  # of X
    "ABS": tf.abs,
    "ARG_MAX": lambda x: tf.argmax(x, 3),
    "ARG_MIN": lambda x: tf.argmin(x, 3),
    "AVERAGE_POOL_2D": lambda x: tf.nn.avg_pool2d(x, 3, 2, "SAME"),
    "BATCH_TO_SPACE_ND": lambda x: tf.batch_to_space(
        tf.concat([x, x, x, x], 0), [2, 2], [[0, 1], [0, 0]]
    ),
    "BROADCAST_TO": lambda x: tf.broadcast_to(x, [2, 6, 8, 4]),
    "CAST": lambda x: tf.cast(x * 4, tf.int32),
    "CEIL": tf.math.ceil,
    "CONCATENATION": lambda x: tf.concat([x, tf.nn.relu(x)], 3),
    "CONV_2D": lambda x: tf.nn.conv2d(x, KERNEL, [1, 2, 2, 1], "SAME"),
    "COS": tf.math.cos,
    "CUMSUM": lambda x: tf.cumsum(x, 2, exclusive=True, reverse=True),
    "DEPTHWISE_CONV_2D": lambda x: tf.nn.depthwise_conv2d(x, DEEP, [1, 1, 1, 1], "SAME"),
    "DEPTH_TO_SPACE": lambda x: tf.nn.depth_to_space(x, 2),
    "DYNAMIC_UPDATE_SLICE": _updated,
    "ELU": tf.nn.elu,
    "EXP": tf.exp,
    "FLOOR": tf.floor,
    "GATHER": lambda x: tf.gather(x, [2, 0, 5], axis=1),
    "GATHER_ND": lambda x: tf.gather_nd(x, [[0, 1, 2], [0, 5, 7]]),
    "GELU": lambda x: tf.nn.gelu(x, approximate=True),
    "HARD_SWISH": lambda x: x * tf.nn.relu6(x + 3) * (1 / 6),
    "L2_NORMALIZATION": lambda x: tf.nn.l2_normalize(x, 3),
    "LEAKY_RELU": lambda x: tf.nn.leaky_relu(x, 0.1),
    "LOCAL_RESPONSE_NORMALIZATION": lambda x: tf.nn.local_response_normalization(x, 2),
    "LOGISTIC": tf.nn.sigmoid,
    "LOG_SOFTMAX": tf.nn.log_softmax,
    "MAX_POOL_2D": lambda x: tf.nn.max_pool2d(x, 3, 2, "VALID"),
    "MEAN": lambda x: tf.reduce_mean(x, [1, 2]),
    "MIRROR_PAD": lambda x: tf.pad(x, [[0, 0], [1, 2], [2, 1], [0, 0]], "REFLECT"),
    "NEG": tf.negative,
    "ONE_HOT": lambda x: tf.one_hot(tf.argmax(x, 3), 4),
    "PACK": lambda x: tf.stack([x, tf.nn.relu(x)], 1),
    "PAD": lambda x: tf.pad(x, [[0, 0], [1, 2], [2, 1], [0, 0]]),
    "PADV2": lambda x: tf.pad(x, [[0, 0], [1, 2], [2, 1], [0, 0]], constant_values=0.5),
    "PRELU": lambda x: tf.nn.relu(x) + SLOPES * tf.nn.relu(-x),
    "REDUCE_MAX": lambda x: tf.reduce_max(x, [1, 2]),
    "REDUCE_MIN": lambda x: tf.reduce_min(x, 3, keepdims=True),
    "REDUCE_PROD": lambda x: tf.reduce_prod(x, 2),
    "RELU": tf.nn.relu,
    "RELU6": tf.nn.relu6,
    "RELU_N1_TO_1": lambda x: tf.minimum(tf.maximum(x, -1.0), 1.0),
    "RESHAPE": lambda x: tf.reshape(x, [1, 48, 4]),
    "RESIZE_BILINEAR": lambda x: tf.compat.v1.image.resize_bilinear(
        x, [9, 12], half_pixel_centers=True
    ),
    "RESIZE_NEAREST_NEIGHBOR": lambda x: tf.compat.v1.image.resize_nearest_neighbor(x, [12, 16]),
    "REVERSE_SEQUENCE": lambda x: tf.reverse_sequence(x, [3], seq_axis=1, batch_axis=0),
    "REVERSE_V2": lambda x: tf.reverse(x, [2]),
    "ROUND": lambda x: tf.round(x * 3),
    "SIGN": tf.sign,
    "SIN": tf.sin,
    "SLICE": lambda x: tf.slice(x, [0, 1, 2, 0], [1, 3, 4, -1]),
    "SOFTMAX": tf.nn.softmax,
    "SPACE_TO_BATCH_ND": lambda x: tf.space_to_batch(x, [2, 2], [[0, 0], [1, 1]]),
    "SPACE_TO_DEPTH": lambda x: tf.nn.space_to_depth(x, 2),
    "SPLIT": lambda x: tf.split(x, 2, 3),
    "SPLIT_V": lambda x: tf.split(x, [1, 3], 3),
    "SQUARE": tf.square,
    "STRIDED_SLICE": lambda x: x[:, 5:0:-2, ::3, 1],
    "SUM": lambda x: tf.reduce_sum(x, [1, 2]),
    "TANH": tf.tanh,
    "TILE": lambda x: tf.tile(x, [1, 2, 1, 3]),
    "TOPK_V2": lambda x: tf.math.top_k(x, 2),
    "TRANSPOSE": lambda x: tf.transpose(x, [0, 3, 1, 2]),
    "TRANSPOSE_CONV": lambda x: tf.nn.conv2d_transpose(
        x, tf.transpose(KERNEL, [0, 1, 3, 2]), [1, 12, 16, 5], 2
    ),
    "UNPACK": lambda x: tf.unstack(x, axis=3),
}
TWO: dict[str, Function] = {  # of X and Y
    "ADD": tf.add,
    "ADD_N": lambda x, y: tf.add_n([x, y, x]),
    "BATCH_MATMUL": lambda x, y: tf.matmul(x, y, transpose_b=True),
    "EQUAL": tf.equal,
    "GREATER": tf.greater,
    "GREATER_EQUAL": tf.greater_equal,
    "LESS": tf.less,
    "LESS_EQUAL": tf.less_equal,
    "MAXIMUM": tf.maximum,
    "MINIMUM": tf.minimum,
    "MUL": tf.multiply,
    "NOT_EQUAL": tf.not_equal,
    "SELECT_V2": lambda x, y: tf.where(x > 0, x, y[:, :1]),
    "SQUARED_DIFFERENCE": tf.math.squared_difference,
    "SUB": tf.subtract,
    "ATAN2": tf.atan2,
}
OTHER: dict[str, tuple[Function, tuple[Array, ...]]] = {
    "BITCAST": (lambda x: tf.bitcast(x, tf.int32), (ROWS,)),
    "BITWISE_XOR": (tf.bitwise.bitwise_xor, (COUNTS, DIVISORS)),
    "BROADCAST_ARGS": (
        lambda x, s: tf.broadcast_to(x, tf.broadcast_dynamic_shape(tf.shape(x), s)),
        (_floats(1, 8), _ints(3, 8)),
    ),
    "BUCKETIZE": (lambda x: tf.raw_ops.Bucketize(input=x, boundaries=[-1.0, 0.0, 0.5]), (ROWS,)),
    "COMPLEX_ABS": (lambda x: tf.abs(tf.signal.rfft2d(x)), (_floats(1, 4, 8),)),
    "CONV_3D": (lambda x: tf.nn.conv3d(x, SOLID, [1] * 5, "SAME"), (VOLUME,)),
    "CONV_3D_TRANSPOSE": (
        lambda x: tf.nn.conv3d_transpose(
            x, tf.transpose(SOLID, [0, 1, 2, 4, 3]), [1, 8, 10, 12, 3], 2
        ),
        (VOLUME,),
    ),
    "DIV": (tf.divide, (X, ABOVE)),
    "FILL": (lambda s, v: tf.fill(tf.shape(s), v), (ROWS, np.array(2.5, np.float32))),
    "FLOOR_DIV": (tf.math.floordiv, (COUNTS, DIVISORS)),
    "FLOOR_MOD": (tf.math.floormod, (COUNTS, DIVISORS)),
    "FULLY_CONNECTED": (lambda x: tf.nn.relu(tf.matmul(x, DENSE) + 0.1), (ROWS,)),
    "IF": (
        lambda c, x: tf.cond(c, lambda: tf.tanh(x), lambda: tf.exp(x)),
        (np.array(True), ROWS),
    ),
    "IMAG": (lambda x: tf.math.imag(tf.signal.rfft2d(x)), (_floats(1, 4, 8),)),
    "LOG": (tf.math.log, (ABOVE,)),
    "LOGICAL_AND": (tf.logical_and, (TRUTHS, OTHERS)),
    "LOGICAL_NOT": (tf.logical_not, (TRUTHS,)),
    "LOGICAL_OR": (tf.logical_or, (TRUTHS, OTHERS)),
    "MATRIX_DIAG": (tf.linalg.diag, (ROWS,)),
    "MATRIX_SET_DIAG": (tf.linalg.set_diag, (_floats(3, 4, 4), _floats(3, 4))),
    "NON_MAX_SUPPRESSION_V4": (
        lambda b, s: tf.image.non_max_suppression_padded(
            b, s, 4, 0.5, 0.1, pad_to_max_output_size=True
        ),
        (BOXES, SCORES),
    ),
    "NON_MAX_SUPPRESSION_V5": (
        lambda b, s: tf.image.non_max_suppression_with_scores(b, s, 3, 0.5, 0.1, 0.0),
        (BOXES, SCORES),
    ),
    "POW": (tf.pow, (ABOVE, Y)),
    "RANGE": (lambda n: tf.range(0, n, 2), (np.array(9, np.int32),)),
    "REAL": (lambda x: tf.math.real(tf.signal.rfft2d(x)), (_floats(1, 4, 8),)),
    "REDUCE_ALL": (lambda x: tf.reduce_all(x, 1), (TRUTHS,)),
    "REDUCE_ANY": (lambda x: tf.reduce_any(x, 1), (TRUTHS,)),
    "RFFT2D": (lambda x: tf.abs(tf.signal.rfft2d(x)), (_floats(1, 4, 8),)),
    "RIGHT_SHIFT": (lambda x: tf.bitwise.right_shift(x, [2, 1, 1, 3]), (_ints(64, 9, -7, 33),)),
    "RSQRT": (tf.math.rsqrt, (ABOVE,)),
    "SCATTER_ND": (
        lambda u: tf.scatter_nd([[1], [3]], u, [5, 8]),
        (_floats(2, 8),),
    ),
    "SEGMENT_SUM": (functools.partial(tf.math.segment_sum, segment_ids=[0, 0, 1]), (ROWS,)),
    "SELECT": (
        tf.compat.v1.where,
        (TRUTHS, ROWS, _floats(3, 8)),
    ),
    "SPARSE_TO_DENSE": (
        lambda v: tf.compat.v1.sparse_to_dense([[0, 1], [2, 3]], [3, 4], v, 0.0),
        (_floats(2),),
    ),
    "SQRT": (tf.sqrt, (ABOVE,)),
    "UNIQUE": (tf.unique, (_ints(3, 1, 3, 2),)),
    "UNSORTED_SEGMENT_MAX": (lambda x: tf.math.unsorted_segment_max(x, [1, 0, 1], 2), (ROWS,)),
    "UNSORTED_SEGMENT_MIN": (lambda x: tf.math.unsorted_segment_min(x, [1, 0, 1], 2), (ROWS,)),
    "UNSORTED_SEGMENT_PROD": (lambda x: tf.math.unsorted_segment_prod(x, [1, 0, 1], 2), (ROWS,)),
    "UNSORTED_SEGMENT_SUM": (lambda x: tf.math.unsorted_segment_sum(x, [1, 0, 1], 2), (ROWS,)),
    "WHERE": (tf.where, (TRUTHS,)),
    "WHILE": (
        lambda x: tf.while_loop(
            lambda i, _: i < 3, lambda i, v: (i + 1, tf.tanh(v) * 1.5), (tf.constant(0), x)
        )[1],
        (ROWS,),
    ),
}
FUNCTIONS: dict[str, tuple[Function, tuple[Array, ...]]] = {
    **{name: (function, (X,)) for name, function in ONE.items()},
    **{name: (function, (X, Y)) for name, function in TWO.items()},
    **OTHER,
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One operator's file.

    Attributes:
        operator: by its name in TensorFlow Lite's schema.
        form: fp32 as it is; int8 rounded whole, with float32 inputs and outputs.
        content: the file's bytes.
        inputs: arrays in the file's order.
    """

    operator: str
    form: str
    content: bytes
    inputs: tuple[Array, ...]


def names() -> tuple[str, ...]:
    """Each case's: the operator, and the form."""
    rounded = [name for name, (_, given) in FUNCTIONS.items() if _is_float(given)]
    return tuple(sorted([f"{n}.fp32" for n in FUNCTIONS] + [f"{n}.int8" for n in rounded]))


def _is_float(given: tuple[Array, ...]) -> bool:
    return all(np.asarray(array).dtype == np.float32 for array in given)


@functools.lru_cache(maxsize=1)
def made(name: str) -> Case | None:
    """Convert one; None where the converter has no such form of the operator."""
    operator, form = name.rsplit(".", 1)
    function, given = FUNCTIONS[operator]
    arrays = tuple(map(np.asarray, given))
    module = tf.Module()
    module.call = tf.function(  # what it makes lives as long as the module
        function, input_signature=[tf.TensorSpec(a.shape, a.dtype) for a in arrays]
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [module.call.get_concrete_function()], module
    )
    if form == "int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (list(a) for a in [arrays] * SAMPLES)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    try:
        content = bytes(converter.convert())
    except (RuntimeError, ValueError):
        return None
    if operator not in tflite_operators.counted(content) or not _rounds(content, form):
        return None
    return Case(operator=operator, form=form, content=content, inputs=_ordered(content, arrays))


def _ordered(content: bytes, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    """The arrays in the file's order of inputs, which is not the function's: by type and shape."""
    left, found = list(arrays), []
    for detail in tf.lite.Interpreter(model_content=content).get_input_details():
        alike = (list(detail["shape"]), detail["dtype"])
        place = [(list(a.shape), a.dtype) for a in left].index(alike)
        found.append(left.pop(place))
    return tuple(found)


def _rounds(content: bytes, form: str) -> bool:
    """Whether a file of the form int8 has numbers of 8 bits, which the converter may leave out."""
    kinds = tflite_operators.counted(content)
    return form != "int8" or "QUANTIZE" in kinds
