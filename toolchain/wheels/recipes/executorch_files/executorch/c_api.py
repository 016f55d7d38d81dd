"""The functions of executorch_c.cpp by ctypes, the types of its elements, and its errors."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_int, c_int32, c_size_t, c_uint32, c_void_p
from pathlib import Path
from typing import Any

import numpy as np

PATH = Path(__file__).with_name("lib") / "libexecutorch_c.so"
MOST_DIMENSIONS = 16


class Described(ctypes.Structure):
    """A tensor's type, and its sizes."""

    _fields_ = (("type", c_int32), ("rank", c_int32), ("sizes", c_int32 * MOST_DIMENSIONS))


# ExecuTorch's ScalarType -> numpy's. The others have no array.
TYPES: dict[int, np.dtype[Any]] = {
    0: np.dtype(np.uint8),
    1: np.dtype(np.int8),
    2: np.dtype(np.int16),
    3: np.dtype(np.int32),
    4: np.dtype(np.int64),
    5: np.dtype(np.float16),
    6: np.dtype(np.float32),
    7: np.dtype(np.float64),
    11: np.dtype(np.bool_),
    27: np.dtype(np.uint16),
    28: np.dtype(np.uint32),
    29: np.dtype(np.uint64),
}
CODES = {dtype: code for code, dtype in TYPES.items()}

# Function -> what it returns, and its arguments.
FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "executorch_why": (c_char_p, []),
    "executorch_set_threads": (c_int, [c_uint32]),
    "executorch_open": (c_int, [c_char_p, c_char_p, POINTER(c_void_p)]),
    "executorch_close": (None, [c_void_p]),
    "executorch_inputs": (c_size_t, [c_void_p]),
    "executorch_outputs": (c_size_t, [c_void_p]),
    "executorch_describe": (c_int, [c_void_p, c_int, c_size_t, POINTER(Described)]),
    "executorch_set_input": (c_int, [c_void_p, c_size_t, POINTER(Described), c_void_p]),
    "executorch_run": (c_int, [c_void_p]),
    "executorch_output": (
        c_int,
        [c_void_p, c_size_t, POINTER(Described), POINTER(c_void_p), POINTER(c_size_t)],
    ),
}


def opened() -> Any:
    """The library, its functions typed."""
    library = ctypes.CDLL(str(PATH))
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


LIBRARY: Any = opened()


def checked(code: int) -> None:
    """Raise what the runtime said of the call that returned a code, where it is none of success.

    Raises:
        RuntimeError: it is.
    """
    if code:
        why = LIBRARY.executorch_why().decode(errors="replace")
        raise RuntimeError(f"ExecuTorch: {why} (error {code:#04x})")


def dtype(described: Described) -> np.dtype[Any]:
    """The type of a tensor's elements.

    Raises:
        TypeError: numpy has none such.
    """
    try:
        return TYPES[described.type]
    except KeyError:
        raise TypeError(f"numpy has no type for ExecuTorch's {described.type}") from None


def shape(described: Described) -> tuple[int, ...]:
    """A tensor's sizes."""
    return tuple(described.sizes[: described.rank])


def description(array: np.ndarray) -> Described:
    """What an array is.

    Raises:
        TypeError: ExecuTorch has no such type.
        ValueError: it has too many dimensions.
    """
    if array.dtype not in CODES:
        raise TypeError(f"ExecuTorch has no type for {array.dtype}")
    if array.ndim > MOST_DIMENSIONS:
        raise ValueError(f"an array of {array.ndim} dimensions, {MOST_DIMENSIONS} at most")
    sizes = (c_int32 * MOST_DIMENSIONS)(*array.shape)
    return Described(CODES[array.dtype], array.ndim, sizes)
