"""The runtimes under one face: load a file, give it its inputs, run, read the outputs.

Each is a module of this folder, by the name that the spec has for it; its twin is the module of
that name in `toolchain.runtimes`. It holds `Backend`, and `DISTRIBUTIONS`: whose versions are
reported when they are installed. A runtime itself is imported only by the job that measures it, or
by the self-check of a release.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from importlib import metadata
from typing import Any, NamedTuple, Protocol, cast

import numpy as np


class Backend(Protocol):
    """A runtime that executes one model. `run` is what is timed: no copies are made in it."""

    def __init__(self, threads: int) -> None:
        """Import the runtime, to execute models on so many threads."""

    def load(self, path: str) -> None:
        """Read a model and make it ready to run. Whatever it raises says why it can't be run."""

    def bind(self, signature: dict[str, Any]) -> None:
        """Learn what the inputs and outputs of the model that was loaded are called.

        Args:
            signature: `inputs` and `outputs`, in the order that the file has them: each has a
                `name`, which is the network's and need not be the file's, and where it is known a
                `dtype` and a `shape`.
        """

    def set_inputs(self, arrays: dict[str, np.ndarray]) -> None:
        """Copy one inference's inputs in, by name."""

    def run(self) -> None:
        """One inference; it is over when this returns."""

    def outputs(self) -> dict[str, np.ndarray]:
        """The outputs of the last inference by name, copies."""

    def delegated(self) -> dict[str, int] | None:
        """How many of the graph's nodes a delegate took; None when the runtime has no such thing.

        The keys are those of `toolchain.results.measurement.Delegated`.
        """


class Observable(Backend, Protocol):
    """A runtime that tells what each operator took."""

    def observe(self) -> None:
        """Have it keep that; before `load`."""

    def observed(self) -> list[Operator]:
        """The operators of all inferences so far; the model is of no use afterwards."""


class Operator(NamedTuple):
    """An operator of a graph, or a function that several became.

    Attributes:
        name: its own.
        kind: what it computes, such as Conv.
        took_ns: each of its runs, in their order.
    """

    name: str
    kind: str
    took_ns: list[int]


def observable(name: str, runtime: Backend) -> Observable:
    """A runtime, when it tells what operators take.

    Raises:
        ValueError: it doesn't.
    """
    if not hasattr(runtime, "observe"):
        raise ValueError(f"{name} doesn't tell what each operator takes")
    return cast("Observable", runtime)


def typed(array: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
    """An output in the type that the signature says, which a converter may have widened."""
    dtype = tensor.get("dtype")
    return array if dtype is None else array.astype(dtype, copy=False)


def paired(
    tensors: list[dict[str, Any]], described: list[Any], what: str
) -> list[tuple[dict[str, Any], Any]]:
    """What the signature says of each tensor, and what the runtime does.

    Args:
        tensors: the signature's, in the order that the file has them.
        described: the runtime's.
        what: input or output, for the error.

    Raises:
        ValueError: there are more of one than of the other.
    """
    if len(tensors) != len(described):
        raise ValueError(f"the model has {len(described)} {what}s, {len(tensors)} were expected")
    return list(zip(tensors, described, strict=True))


def names() -> list[str]:
    """The runtimes that there is a module for."""
    return [found.name for found in pkgutil.iter_modules(__path__)]


def open_runtime(name: str, threads: int) -> Backend:
    """Import a runtime by its name in the spec.

    Raises:
        ValueError: there is no such module.
        ImportError: the runtime isn't installed.
    """
    backend: Backend = _module(name).Backend(threads)
    return backend


def versions(name: str) -> dict[str, str]:
    """Installed versions of a runtime's distributions and of numpy."""
    found = {"numpy": np.__version__}
    for distribution in _module(name).DISTRIBUTIONS:
        try:
            found[distribution] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return found


def _module(name: str) -> Any:
    module = f"{__name__}.{name}"
    # a program that has opened it goes on when the folder of its release is removed
    if module not in sys.modules and name not in names():
        raise ValueError(f"unknown runtime: {name}")
    return importlib.import_module(module)
