"""ONNX Runtime's C API by ctypes: its functions, its errors, the types of its elements.

The header `onnxruntime_c_api.h` of this release lists the functions in `struct OrtApi`, whose order
never changes; a later library answers for this version of the list too.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path
from typing import Any

import numpy as np

VERSION = 21
LIBRARY = Path(__file__).with_name("libonnxruntime.so")

HANDLE = POINTER(c_void_p)  # where a new object is put
TEXT = POINTER(c_char_p)
NUMBER = POINTER(c_int)
SIZE = POINTER(c_size_t)

# Function -> its place in the list, and its arguments. These return a status.
CHECKED: dict[str, tuple[int, list[Any]]] = {
    "CreateEnv": (3, [c_int, c_char_p, HANDLE]),
    "CreateSession": (7, [c_void_p, c_char_p, c_void_p, HANDLE]),
    "CreateSessionFromArray": (8, [c_void_p, c_char_p, c_size_t, c_void_p, HANDLE]),
    "Run": (9, [c_void_p, c_void_p, TEXT, HANDLE, c_size_t, TEXT, c_size_t, HANDLE]),
    "CreateSessionOptions": (10, [HANDLE]),
    "SetOptimizedModelFilePath": (11, [c_void_p, c_char_p]),
    "SetSessionExecutionMode": (13, [c_void_p, c_int]),
    "EnableProfiling": (14, [c_void_p, c_char_p]),
    "DisableMemPattern": (17, [c_void_p]),
    "DisableCpuMemArena": (19, [c_void_p]),
    "SetSessionLogId": (20, [c_void_p, c_char_p]),
    "SetSessionLogVerbosityLevel": (21, [c_void_p, c_int]),
    "SetSessionLogSeverityLevel": (22, [c_void_p, c_int]),
    "SetSessionGraphOptimizationLevel": (23, [c_void_p, c_int]),
    "SetIntraOpNumThreads": (24, [c_void_p, c_int]),
    "SetInterOpNumThreads": (25, [c_void_p, c_int]),
    "SessionGetInputCount": (30, [c_void_p, SIZE]),
    "SessionGetOutputCount": (31, [c_void_p, SIZE]),
    "SessionGetInputTypeInfo": (33, [c_void_p, c_size_t, HANDLE]),
    "SessionGetOutputTypeInfo": (34, [c_void_p, c_size_t, HANDLE]),
    "SessionGetInputName": (36, [c_void_p, c_size_t, c_void_p, HANDLE]),
    "SessionGetOutputName": (37, [c_void_p, c_size_t, c_void_p, HANDLE]),
    "CreateTensorWithDataAsOrtValue": (
        49,
        [c_void_p, c_void_p, c_size_t, POINTER(c_int64), c_size_t, c_int, HANDLE],
    ),
    "GetTensorMutableData": (51, [c_void_p, HANDLE]),
    "CastTypeInfoToTensorInfo": (55, [c_void_p, HANDLE]),
    "GetOnnxTypeFromTypeInfo": (56, [c_void_p, NUMBER]),
    "GetTensorElementType": (60, [c_void_p, NUMBER]),
    "GetDimensionsCount": (61, [c_void_p, SIZE]),
    "GetDimensions": (62, [c_void_p, POINTER(c_int64), c_size_t]),
    "GetSymbolicDimensions": (63, [c_void_p, TEXT, c_size_t]),
    "GetTensorTypeAndShape": (65, [c_void_p, HANDLE]),
    "CreateCpuMemoryInfo": (69, [c_int, c_int, HANDLE]),
    "AllocatorFree": (76, [c_void_p, c_void_p]),
    "GetAllocatorWithDefaultOptions": (78, [HANDLE]),
    "SessionEndProfiling": (110, [c_void_p, c_void_p, HANDLE]),
    "AddFreeDimensionOverrideByName": (124, [c_void_p, c_char_p, c_int64]),
    "GetAvailableProviders": (125, [POINTER(TEXT), NUMBER]),
    "ReleaseAvailableProviders": (126, [TEXT, c_int]),
    "AddSessionConfigEntry": (130, [c_void_p, c_char_p, c_char_p]),
    "UpdateEnvWithCustomLogLevel": (226, [c_void_p, c_int]),
}
# And these nothing: they release what they are given.
RELEASES = {
    "ReleaseStatus": 93,
    "ReleaseSession": 95,
    "ReleaseValue": 96,
    "ReleaseTypeInfo": 98,
    "ReleaseTensorTypeAndShapeInfo": 99,
    "ReleaseSessionOptions": 100,
}

# The types of elements by their number in the header, as ONNX spells them.
ELEMENTS = (
    *("undefined", "float", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool"),
    *("float16", "double", "uint32", "uint64", "complex64", "complex128", "bfloat16"),
    *("float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz", "uint4", "int4"),
)
# What numpy has of them under another name, and what it or an array cannot hold.
IN_NUMPY = {"float": "float32", "double": "float64"}
NOT_ARRAYS = {"undefined", "string", "complex64", "complex128", "bfloat16", "uint4", "int4"}
DTYPES = {
    number: np.dtype(IN_NUMPY.get(name, name))
    for number, name in enumerate(ELEMENTS)
    if name not in NOT_ARRAYS and not name.startswith("float8")
}
NUMBERS = {dtype: number for number, dtype in DTYPES.items()}


class OnnxRuntimeError(Exception):
    """ONNX Runtime refused or failed; the text is its own."""


class Fail(OnnxRuntimeError):
    """What has no class of its own."""


class InvalidArgument(OnnxRuntimeError):
    """An argument doesn't fit: a name, a shape, a type of elements."""


class NoSuchFile(OnnxRuntimeError):
    """The model's file is not there."""


class NoModel(OnnxRuntimeError):
    """No model was loaded."""


class EngineError(OnnxRuntimeError):
    """The engine failed."""


class RuntimeException(OnnxRuntimeError):
    """A node failed while it ran, or a session while it was made."""


class InvalidProtobuf(OnnxRuntimeError):
    """The model is not an ONNX file."""


class ModelLoaded(OnnxRuntimeError):
    """A model was loaded already."""


class NotImplemented(OnnxRuntimeError):  # noqa: A001 - as users know it
    """An operator or a type is not in this library or this package."""


class InvalidGraph(OnnxRuntimeError):
    """The model's graph contradicts itself or ONNX."""


class EPFail(OnnxRuntimeError):
    """An execution provider failed."""


# By the number of the error in the header.
ERRORS = {
    1: ("FAIL", Fail),
    2: ("INVALID_ARGUMENT", InvalidArgument),
    3: ("NO_SUCHFILE", NoSuchFile),
    4: ("NO_MODEL", NoModel),
    5: ("ENGINE_ERROR", EngineError),
    6: ("RUNTIME_EXCEPTION", RuntimeException),
    7: ("INVALID_PROTOBUF", InvalidProtobuf),
    8: ("MODEL_LOADED", ModelLoaded),
    9: ("NOT_IMPLEMENTED", NotImplemented),
    10: ("INVALID_GRAPH", InvalidGraph),
    11: ("EP_FAIL", EPFail),
}


class Library:
    """The functions of an ONNX Runtime library, each an attribute that raises what it reports.

    Raises:
        ImportError: the library can't be loaded, or is older than this API.
    """

    def __init__(self, path: Path) -> None:
        try:
            base = ctypes.CDLL(str(path)).OrtGetApiBase
        except (OSError, AttributeError) as error:
            raise ImportError(f"{path}: {error}") from error
        base.restype = POINTER(c_void_p)
        get_api, get_version = base()[0], base()[1]
        self.version = ctypes.CFUNCTYPE(c_char_p)(get_version)().decode()
        table = ctypes.CFUNCTYPE(POINTER(c_void_p), ctypes.c_uint32)(get_api)(VERSION)
        if not table:
            raise ImportError(f"{path}: version {self.version} has no API {VERSION}")
        self._error_code = ctypes.CFUNCTYPE(c_int, c_void_p)(table[1])
        self._error_message = ctypes.CFUNCTYPE(c_char_p, c_void_p)(table[2])
        for name, place in RELEASES.items():
            setattr(self, name, ctypes.CFUNCTYPE(None, c_void_p)(table[place]))
        for name, (place, arguments) in CHECKED.items():
            function = ctypes.CFUNCTYPE(c_void_p, *arguments)(table[place])
            setattr(self, name, self._checked(function))

    def __getattr__(self, name: str) -> Callable[..., None]:
        raise AttributeError(f"the C API has no {name} here")

    def _checked(self, function: Callable[..., int | None]) -> Callable[..., None]:
        """The function, its status raised."""

        def call(*arguments: object) -> None:
            status = function(*arguments)
            if status:
                self._refuse(status)

        return call

    def _refuse(self, status: int) -> None:
        code = self._error_code(status)
        text = self._error_message(status).decode(errors="replace")
        self.ReleaseStatus(status)
        name, kind = ERRORS.get(code, ERRORS[1])
        raise kind(f"[ONNXRuntimeError] : {code} : {name} : {text}")


def array_of(kind: Any, items: list[Any]) -> Any:
    """A C array."""
    return (kind * len(items))(*items)
