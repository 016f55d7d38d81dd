"""Sessions of ONNX models, as users of ONNX Runtime know them: made, asked and run from Python.

Tensors are numpy arrays. Strings, sequences, maps, sparse and optional values are refused, and so
are the elements that numpy lacks (bfloat16, float8, int4); a model may use them inside.
"""

from __future__ import annotations

import ctypes
import operator
import os
import warnings
import weakref
from collections.abc import Mapping, Sequence
from ctypes import byref, c_char_p, c_int, c_int64, c_size_t, c_void_p
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from onnxruntime import c_api

KINDS = ("unknown", "tensor", "seq", "map", "opaque", "sparse_tensor", "optional")
TENSOR = 1
WARNINGS = 2  # and what is worse: of its log's levels
ARENA, DEFAULT_MEMORY = 1, 0


class GraphOptimizationLevel(IntEnum):
    """How much of a graph is rewritten before it runs."""

    ORT_DISABLE_ALL = 0
    ORT_ENABLE_BASIC = 1
    ORT_ENABLE_EXTENDED = 2
    ORT_ENABLE_ALL = 99


class ExecutionMode(IntEnum):
    """Whether nodes that don't wait for each other run at once."""

    ORT_SEQUENTIAL = 0
    ORT_PARALLEL = 1


class Runtime:
    """What all sessions of a process share: the library, its environment, its allocator."""

    def __init__(self) -> None:
        self.api = c_api.Library(c_api.LIBRARY)
        self.environment, self.allocator, self.memory = c_void_p(), c_void_p(), c_void_p()
        self.api.CreateEnv(WARNINGS, b"Default", byref(self.environment))
        self.api.GetAllocatorWithDefaultOptions(byref(self.allocator))
        self.api.CreateCpuMemoryInfo(ARENA, DEFAULT_MEMORY, byref(self.memory))

    def text(self, found: c_void_p) -> str:
        """A text that the library allocated, which is freed."""
        text = ctypes.string_at(found.value or 0).decode(errors="replace")
        self.api.AllocatorFree(self.allocator, found)
        return text


RUNTIME = Runtime()
API = RUNTIME.api


class SessionOptions:
    """How a session is made; an attribute that is not here can't be set.

    Attributes:
        intra_op_num_threads: threads of a node; 0 for one a core.
        inter_op_num_threads: nodes at once, where `execution_mode` is parallel; 0 for one a core.
        graph_optimization_level: a `GraphOptimizationLevel`.
        execution_mode: an `ExecutionMode`.
        enable_profiling: whether a profile is written, to a file named `profile_file_prefix` and
            the time; `end_profiling` of the session closes it.
        enable_mem_pattern: whether the memory of one run is planned for the next.
        enable_cpu_mem_arena: whether freed memory is kept for later runs.
        optimized_model_filepath: where the optimised graph is written; nowhere when empty.
        log_severity_level: 0 (all) to 4 (fatal errors); -1 for the process's.
        log_verbosity_level: of what is logged at severity 0.
        logid: what its lines in the log begin with.
    """

    __slots__ = (
        *("_dimensions", "_entries", "enable_cpu_mem_arena", "enable_mem_pattern"),
        *("enable_profiling", "execution_mode", "graph_optimization_level"),
        *("inter_op_num_threads", "intra_op_num_threads", "log_severity_level"),
        *("log_verbosity_level", "logid", "optimized_model_filepath", "profile_file_prefix"),
    )

    def __init__(self) -> None:
        self.intra_op_num_threads = 0
        self.inter_op_num_threads = 0
        self.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_ALL
        self.execution_mode = ExecutionMode.ORT_SEQUENTIAL
        self.enable_profiling = False
        self.profile_file_prefix = "onnxruntime_profile_"
        self.enable_mem_pattern = True
        self.enable_cpu_mem_arena = True
        self.optimized_model_filepath = ""
        self.log_severity_level = -1
        self.log_verbosity_level = 0
        self.logid = ""
        self._entries: dict[str, str] = {}
        self._dimensions: dict[str, int] = {}

    def add_session_config_entry(self, key: str, value: str) -> None:
        """Set an entry of the session's configuration, as ONNX Runtime's documentation has them."""
        self._entries[key] = value

    def get_session_config_entry(self, key: str) -> str:
        """An entry that was set; raises KeyError for one that was not."""
        return self._entries[key]

    def add_free_dimension_override_by_name(self, name: str, size: int) -> None:
        """Give a dimension that the model has by name a size."""
        self._dimensions[name] = size

    def _apply(self, options: c_void_p) -> None:
        """Put all of it into the library's object."""
        number, text = operator.index, str.encode
        API.SetIntraOpNumThreads(options, number(self.intra_op_num_threads))
        API.SetInterOpNumThreads(options, number(self.inter_op_num_threads))
        API.SetSessionGraphOptimizationLevel(options, number(self.graph_optimization_level))
        API.SetSessionExecutionMode(options, number(self.execution_mode))
        API.SetSessionLogSeverityLevel(options, number(self.log_severity_level))
        API.SetSessionLogVerbosityLevel(options, number(self.log_verbosity_level))
        if self.logid:
            API.SetSessionLogId(options, text(self.logid))
        if self.enable_profiling:
            API.EnableProfiling(options, os.fsencode(self.profile_file_prefix))
        if not self.enable_mem_pattern:
            API.DisableMemPattern(options)
        if not self.enable_cpu_mem_arena:
            API.DisableCpuMemArena(options)
        if self.optimized_model_filepath:
            API.SetOptimizedModelFilePath(options, os.fsencode(self.optimized_model_filepath))
        for key, value in self._entries.items():
            API.AddSessionConfigEntry(options, text(key), text(value))
        for key, size in self._dimensions.items():
            API.AddFreeDimensionOverrideByName(options, text(key), number(size))


@dataclass(frozen=True)
class NodeArg:
    """An input or output of a model.

    Attributes:
        name: in the graph.
        type: such as tensor(float); of what is no tensor its kind alone, such as seq.
        shape: of each dimension its size, its name where that is free, or None; empty for a scalar
            and for what is no tensor.
    """

    name: str
    type: str
    shape: list[int | str | None]


class InferenceSession:
    """A model, ready to run.

    Args:
        path_or_bytes: the ONNX file, or its bytes.
        sess_options: how the session is made.
        providers: names of execution providers; there is CPUExecutionProvider, and of others a
            warning says that they are absent.
        provider_options: taken and not needed.

    Raises:
        OnnxRuntimeError: the model can't be read or used; see its subclasses.
    """

    def __init__(
        self,
        path_or_bytes: str | os.PathLike[str] | bytes,
        sess_options: SessionOptions | None = None,
        providers: Sequence[str | tuple[str, Any]] | None = None,
        provider_options: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        del provider_options
        _warn_of_absent(providers or ())
        self._options = sess_options or SessionOptions()
        options = c_void_p()
        API.CreateSessionOptions(byref(options))
        try:
            self._options._apply(options)  # noqa: SLF001
            self._session = _created(path_or_bytes, options)
        finally:
            API.ReleaseSessionOptions(options)
        weakref.finalize(self, API.ReleaseSession, self._session)
        self._inputs = _described(self._session, "Input")
        self._outputs = _described(self._session, "Output")
        self._feedable = {one.name: one.name.encode() for one in self._inputs}
        self._fetchable = {one.name: one.name.encode() for one in self._outputs}
        self._tensors = {one.name for one in self._outputs if one.type.startswith("tensor(")}

    def get_inputs(self) -> list[NodeArg]:
        """The inputs that must be given, in the model's order."""
        return list(self._inputs)

    def get_outputs(self) -> list[NodeArg]:
        """The outputs, in the model's order."""
        return list(self._outputs)

    def get_session_options(self) -> SessionOptions:
        """What the session was made with."""
        return self._options

    def get_providers(self) -> list[str]:
        """The execution providers of the session."""
        return get_available_providers()

    def end_profiling(self) -> str:
        """Close the profile; return its file's name."""
        found = c_void_p()
        API.SessionEndProfiling(self._session, RUNTIME.allocator, byref(found))
        return RUNTIME.text(found)

    def run(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, Any],
        run_options: None = None,
    ) -> list[np.ndarray]:
        """One inference; other threads may run the session at the same time.

        Args:
            output_names: which outputs; all, in the model's order, when None or empty.
            input_feed: an array for each input; the types of elements must be the model's.
            run_options: there are none.

        Returns:
            a new array for each output.

        Raises:
            ValueError: an input is missing.
            OnnxRuntimeError: one is unknown or unfit, or a node failed.
        """
        del run_options
        if missing := [name for name in self._feedable if name not in input_feed]:
            raise ValueError(f"inputs that are missing from the feed: {', '.join(missing)}")
        wanted = list(output_names or self._fetchable)
        if others := [name for name in wanted if name not in self._tensors]:
            _refuse_outputs(others, self._fetchable)
        arrays = [_fit(name, given) for name, given in input_feed.items()]
        given_names = [self._feedable.get(name) or name.encode() for name in input_feed]
        inputs = (c_void_p * len(arrays))()
        outputs = (c_void_p * len(wanted))()
        try:
            for place, array in enumerate(arrays):
                inputs[place] = _value_of(array)
            API.Run(
                self._session, None,
                c_api.array_of(c_char_p, given_names), inputs, len(arrays),
                c_api.array_of(c_char_p, [self._fetchable[name] for name in wanted]), len(wanted),
                outputs,
            )  # fmt: skip
            return [_array_of(value) for value in outputs]
        finally:
            for value in (*inputs, *outputs):
                if value:
                    API.ReleaseValue(value)


def get_available_providers() -> list[str]:
    """The execution providers in the library."""
    names, count = ctypes.POINTER(c_char_p)(), c_int()
    API.GetAvailableProviders(byref(names), byref(count))
    found = [(names[place] or b"").decode() for place in range(count.value)]
    API.ReleaseAvailableProviders(names, count)
    return found


def set_default_logger_severity(severity: int) -> None:
    """Log what is this bad and worse: 0 (all) to 4 (fatal errors)."""
    API.UpdateEnvWithCustomLogLevel(RUNTIME.environment, operator.index(severity))


def _warn_of_absent(providers: Sequence[str | tuple[str, Any]]) -> None:
    available = get_available_providers()
    for one in providers:
        name = one if isinstance(one, str) else one[0]
        if name not in available:
            warnings.warn(
                f"execution provider {name} is not available; there is {', '.join(available)}",
                stacklevel=3,
            )


def _created(model: str | os.PathLike[str] | bytes, options: c_void_p) -> c_void_p:
    session = c_void_p()
    if isinstance(model, bytes):
        API.CreateSessionFromArray(RUNTIME.environment, model, len(model), options, byref(session))
    else:
        API.CreateSession(RUNTIME.environment, os.fsencode(model), options, byref(session))
    return session


def _described(session: c_void_p, what: str) -> list[NodeArg]:
    """The inputs ("Input") or outputs ("Output") of a session."""
    count = c_size_t()
    getattr(API, f"SessionGet{what}Count")(session, byref(count))
    found = []
    for place in range(count.value):
        name, info = c_void_p(), c_void_p()
        getattr(API, f"SessionGet{what}Name")(session, place, RUNTIME.allocator, byref(name))
        getattr(API, f"SessionGet{what}TypeInfo")(session, place, byref(info))
        try:
            found.append(NodeArg(RUNTIME.text(name), *_type_of(info)))
        finally:
            API.ReleaseTypeInfo(info)
    return found


def _type_of(info: c_void_p) -> tuple[str, list[int | str | None]]:
    """The type and the shape that a description has."""
    kind, tensor, number = c_int(), c_void_p(), c_int()
    API.GetOnnxTypeFromTypeInfo(info, byref(kind))
    if kind.value != TENSOR:
        return KINDS[kind.value], []
    API.CastTypeInfoToTensorInfo(info, byref(tensor))
    API.GetTensorElementType(tensor, byref(number))
    sizes = _sizes(tensor)
    names = (c_char_p * len(sizes))()
    API.GetSymbolicDimensions(tensor, names, len(sizes))
    shape = [
        size if size >= 0 else (name or b"").decode() or None
        for size, name in zip(sizes, names, strict=True)
    ]
    return f"tensor({c_api.ELEMENTS[number.value]})", shape


def _sizes(tensor: c_void_p) -> list[int]:
    rank = c_size_t()
    API.GetDimensionsCount(tensor, byref(rank))
    sizes = (c_int64 * rank.value)()
    API.GetDimensions(tensor, sizes, rank.value)
    return list(sizes)


def _refuse_outputs(names: Sequence[str], known: Mapping[str, bytes]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise c_api.InvalidArgument(f"no output is named {', '.join(unknown)}")
    raise c_api.NotImplemented(f"only tensors are fetched, and {', '.join(names)} is none")


def _fit(name: str, given: object) -> np.ndarray:
    """An input's array as the library reads it: contiguous, of this machine's byte order."""
    array = np.asarray(given)
    plain = array.dtype.newbyteorder("=")
    if plain not in c_api.NUMBERS:
        raise c_api.NotImplemented(f"input {name}: arrays of {array.dtype} are not taken")
    return np.require(array, plain, "C").reshape(array.shape)


def _value_of(array: np.ndarray) -> int | None:
    """The library's view of an array, which must outlive it."""
    value = c_void_p()
    API.CreateTensorWithDataAsOrtValue(
        RUNTIME.memory, array.__array_interface__["data"][0], array.nbytes,
        (c_int64 * array.ndim)(*array.shape), array.ndim, c_api.NUMBERS[array.dtype],
        byref(value),
    )  # fmt: skip
    return value.value


def _array_of(value: int | None) -> np.ndarray:
    """A copy of a tensor of the library."""
    info, number, data = c_void_p(), c_int(), c_void_p()
    API.GetTensorTypeAndShape(value, byref(info))
    try:
        API.GetTensorElementType(info, byref(number))
        shape = _sizes(info)
    finally:
        API.ReleaseTensorTypeAndShapeInfo(info)
    if number.value not in c_api.DTYPES:
        name = c_api.ELEMENTS[number.value]
        raise c_api.NotImplemented(f"an output of {name}: numpy has no such elements")
    array = np.empty(shape, c_api.DTYPES[number.value])
    if array.nbytes:
        API.GetTensorMutableData(value, byref(data))
        ctypes.memmove(array.__array_interface__["data"][0], data, array.nbytes)
    return array
