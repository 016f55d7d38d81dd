"""ONNX Runtime: runs ONNX models on the CPU.

The library is the project's own; this package calls its C API, and has of the project's Python
package what runs a model.
"""

from onnxruntime.c_api import (
    EngineError,
    EPFail,
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    ModelLoaded,
    NoModel,
    NoSuchFile,
    NotImplemented,  # noqa: A004 - as users know it
    OnnxRuntimeError,
    RuntimeException,
)
from onnxruntime.session import (
    RUNTIME,
    ExecutionMode,
    GraphOptimizationLevel,
    InferenceSession,
    NodeArg,
    SessionOptions,
    get_available_providers,
    set_default_logger_severity,
)

__version__ = RUNTIME.api.version

__all__ = [
    "EPFail",
    "EngineError",
    "ExecutionMode",
    "Fail",
    "GraphOptimizationLevel",
    "InferenceSession",
    "InvalidArgument",
    "InvalidGraph",
    "InvalidProtobuf",
    "ModelLoaded",
    "NoModel",
    "NoSuchFile",
    "NodeArg",
    "NotImplemented",
    "OnnxRuntimeError",
    "RuntimeException",
    "SessionOptions",
    "get_available_providers",
    "get_device",
    "set_default_logger_severity",
]


def get_device() -> str:
    """What models run on."""
    return "CPU"
