"""The arrays of samples.npz and of a variant's references, of this version and of schema 1."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import numpy.typing as npt

from toolchain.formats.signature import Tensor

Array = npt.NDArray[Any]
INPUT, OUTPUT = "in:", "out:"
# what numpy, its parser of a head and Python's zip reader raise for a damaged file, and for a head
# that claims more than there is
UNREADABLE = (
    *(OSError, ValueError, EOFError, SyntaxError, TokenError, zipfile.BadZipFile, zlib.error),
    *(struct.error, KeyError, TypeError, AttributeError, OverflowError, RuntimeError, MemoryError),
)


def keyed(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Arrays under the keys that they have in a file."""
    return {f"{prefix}{name}": array for name, array in arrays.items()}


def inputs(path: Path, tensors: Sequence[Tensor]) -> dict[str, Array]:
    """What a network is checked with: (inferences, *shape) by the name of each input.

    Args:
        path: samples.npz.
        tensors: the network's inputs.
    """
    return _read(path, INPUT, "x", tensors)


def outputs(path: Path, tensors: Sequence[Tensor]) -> dict[str, Array]:
    """What its source, or a variant, gave for that: (inferences, *shape) by each output's name.

    Args:
        path: samples.npz, or the file of a variant's references.
        tensors: the network's outputs.
    """
    return _read(path, OUTPUT, "reference", tensors)


def _read(path: Path, prefix: str, alone: str, tensors: Sequence[Tensor]) -> dict[str, Array]:
    if path.suffix == ".npy":
        samples = np.load(path, allow_pickle=False)
        return {tensors[0].name: samples.reshape(-1, *tensors[0].shape)}
    with np.load(path, allow_pickle=False) as arrays:
        if alone in arrays:
            return {tensors[0].name: arrays[alone].reshape(-1, *tensors[0].shape)}
        return {tensor.name: arrays[f"{prefix}{tensor.name}"] for tensor in tensors}
