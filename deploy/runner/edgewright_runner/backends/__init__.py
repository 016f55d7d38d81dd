"""The runtimes under one face: load a file, give it an input, run, read the output.

Each is a module of this folder, by the name that the spec has for it; its twin is the module of
that name in `toolchain.runtimes`. It holds `Backend`, and `DISTRIBUTIONS`: whose versions are
reported when they are installed. A runtime itself is imported only by the job that measures it, or
by the self-check of a release.
"""

from __future__ import annotations

import importlib
import pkgutil
from importlib import metadata
from typing import Any, Protocol

import numpy as np


class Backend(Protocol):
    """A runtime that executes one model. `run` is what is timed: no copies are made in it."""

    def __init__(self, threads: int) -> None:
        """Import the runtime, to execute models on so many threads."""

    def load(self, path: str) -> None:
        """Read a model and make it ready to run. Whatever it raises says why it can't be run."""

    def set_input(self, x: np.ndarray) -> None:
        """Copy one batch of float32 in."""

    def run(self) -> None:
        """One inference; it is over when this returns."""

    def output(self) -> np.ndarray:
        """The output of the last inference as float32, a copy."""

    def delegated(self) -> dict[str, int] | None:
        """How many of the graph's nodes a delegate took; None when the runtime has no such thing.

        The keys are those of `toolchain.results.measurement.Delegated`.
        """


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
    if name not in names():
        raise ValueError(f"unknown runtime: {name}")
    return importlib.import_module(f"{__name__}.{name}")
