"""What a compilation imports of a network, as jobs are asked for it: light on both sides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from toolchain.formats.signature import Tensor


@dataclass(frozen=True, kw_only=True)
class Flatbuffer:
    """A network's TensorFlow Lite form, and the names of its inputs and outputs in its order."""

    file: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SourceGraph:
    """A network as it is imported: from its TensorFlow Lite form, its ONNX graph, or either.

    A TensorFlow Lite form that computes in integers is imported operator by operator, with its own
    arithmetic; what isn't known there is imported from the ONNX graph, in which the products of one
    with rounded weights alone are written out. A network needs one of them.

    Attributes:
        inputs: with their shapes, in the order that a library has them.
        outputs: the same.
        onnx: the graph, prepared; None where there is none.
        flatbuffer: the TensorFlow Lite form; None where there is none.
        unmade: why there is no graph.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    onnx: Path | None = None
    flatbuffer: Flatbuffer | None = None
    unmade: str = ""

    def files(self) -> tuple[Path, ...]:
        """What an import reads."""
        flatbuffer = None if self.flatbuffer is None else self.flatbuffer.file
        return tuple(file for file in (self.onnx, flatbuffer) if file is not None)
