"""What goes into a network and what comes out: each tensor's name, type and shape.

`Signature` is a model file's own, where dimensions may be open; `Tensor` is what a converted
network has, where none is. These are read and written as parts of model.json, and imported where
the tasks' help is, so nothing heavy is here.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

from toolchain.core.errors import ModelError

Dtype = Literal[
    "bool",
    "float16",
    "float32",
    "float64",
    "int16",
    "int32",
    "int64",
    "int8",
    "uint16",
    "uint32",
    "uint64",
    "uint8",
]
DTYPES: tuple[str, ...] = get_args(Dtype)
# Of characters: control, half ones, and what ends a line. A name is shown, and stands in files.
_NO_NAME = {"Cc", "Cs", "Zl", "Zp"}
Dims = tuple[int | str | None, ...]  # None, or a name, where a dimension is open


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """How an integer tensor stands for real numbers: real = scale * (integer - zero)."""

    scale: float
    zero: int = 0


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """An input or output with its fixed shape; rank 0 is a single number.

    `quantization` is of a tensor that is rounded itself; one of float32 has none.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Dtype = "float32"
    quantization: Quantization | None = None

    def __post_init__(self) -> None:
        """Refuse what no file of a model is read with.

        Raises:
            ValueError: the name ends a line, or has a control character.
        """
        if not _is_a_line(self.name):
            raise ValueError(f"{self.name!r} is no name of a tensor")


@dataclass(frozen=True, kw_only=True)
class OpenTensor:
    """An input or output as a model file has it.

    Attributes:
        name: as the file says it.
        dims: its shape; None, or a name, where a dimension is open.
        dtype: one of DTYPES.
        quantization: of a tensor that is rounded itself.
    """

    name: str
    dims: Dims
    dtype: str = "float32"
    quantization: Quantization | None = None

    def __str__(self) -> str:
        dims = ", ".join("?" if d is None else str(d) for d in self.dims)
        return f"{self.name}: {self.dtype} ({dims})"

    def fixed(self, shape: tuple[int, ...]) -> Tensor:
        """The same with all its sizes."""
        return Tensor(
            name=self.name,
            shape=shape,
            dtype=cast("Dtype", self.dtype),
            quantization=self.quantization,
        )


@dataclass(frozen=True, kw_only=True)
class Signature:
    """All inputs and outputs of a network, in its own order."""

    inputs: tuple[OpenTensor, ...]
    outputs: tuple[OpenTensor, ...]

    def __post_init__(self) -> None:
        """Refuse what no runtime takes.

        Raises:
            ModelError: an input or output is of another type, its name is there twice or has a
                control character, or there is none.
        """
        for what, tensors in (("input", self.inputs), ("output", self.outputs)):
            _refuse(what, tensors)

    def listed(self) -> str:
        """All of it in words, a tensor a line."""
        given = [f"input  {tensor}" for tensor in self.inputs]
        return "\n".join([*given, *(f"output {tensor}" for tensor in self.outputs)])


def _refuse(what: str, tensors: Sequence[OpenTensor]) -> None:
    listed = "\n".join(map(str, tensors))
    if not tensors:
        raise ModelError(
            f"the model has no {what}", resolution="export it as a function of tensors"
        )
    for tensor in tensors:
        if not _is_a_line(tensor.name):
            raise ModelError(
                f"the model's {what} {tensor.name!r} has a control character in its name",
                resolution="export it with names that are words; take no file whose maker you "
                "don't know",
            )
        if tensor.dtype not in DTYPES:
            raise ModelError(
                f"the model's {what} {tensor.name} is {tensor.dtype}, which no runtime takes",
                detail=listed,
                resolution=f"export the model with tensors of {', '.join(DTYPES)}",
            )
    names = [tensor.name for tensor in tensors]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ModelError(
            f"the model has several {what}s named {twice[0]}",
            detail=listed,
            resolution="export it with a name of its own for each",
        )


def _is_a_line(name: str) -> bool:
    return not any(unicodedata.category(character) in _NO_NAME for character in name)
