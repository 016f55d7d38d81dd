"""A model that was read: what conversion asks of it, whatever kind of file it was in.

It lives in the worker, where the library of its kind is imported.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from toolchain.core.errors import UsageError

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

    from toolchain.formats.shapes import Shapes
    from toolchain.formats.signature import Signature, Tensor

    Array = npt.NDArray[Any]
    Arrays = Mapping[str, Array]


@dataclass(frozen=True, kw_only=True)
class Described:
    """What a model file says itself of what its inputs and outputs mean.

    Attributes:
        labels: the names of its classes; empty where there are none.
        mean, std: of its image's normalisation, (pixel - mean) / std; empty where there is none.
    """

    labels: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


class Network(ABC):
    """Named tensors in, named tensors out.

    Attributes:
        signature: its inputs and outputs, with open dimensions as the file has them.
        is_tflite: whether the file is itself the TFLite form, with which there is nothing to
            compare it.
    """

    signature: Signature
    is_tflite: ClassVar[bool] = False

    @abstractmethod
    def run(self, feeds: Arrays) -> dict[str, Array]:
        """One inference, by the library of its kind: the reference.

        Args:
            feeds: an array for each input, of the shape that it is fixed at.

        Returns:
            an array for each output.

        Raises:
            ModelError: it can't be run.
        """

    @abstractmethod
    def to_onnx(self, inputs: Sequence[Tensor], name: str) -> onnx.ModelProto:
        """The model as ONNX, its inputs and outputs named and ordered as the signature's.

        Args:
            inputs: all of them, with their shapes.
            name: of the graph, where the file says none.

        Raises:
            ModelError: ONNX lacks an operator of it; the error names it.
        """

    def to_tflite(self, inputs: Sequence[Tensor]) -> bytes | None:
        """The model as TFLite, its weights as they are; None where it is made of the ONNX graph.

        Args:
            inputs: as `to_onnx`.

        Raises:
            ModelError: TFLite lacks an operator of it; the error names it.
        """
        del inputs
        return None

    def holding(self, constants: Mapping[str, Any]) -> Network:
        """The network with some of its inputs held at a value, and so no inputs any more.

        Args:
            constants: the value of each by its name: a number, a truth value, or nested lists.

        Raises:
            UsageError: this kind of file can't have it, or the network has no such input of such a
                value.
        """
        raise UsageError(
            f"[constants] holds inputs of .onnx files alone, not {', '.join(constants)} here",
            resolution="leave [constants] out, or hold the value where the network is exported",
        )

    def described(self) -> Described | None:
        """What the file says of the meaning of inputs and outputs; None where it says nothing."""
        return None

    def known_shapes(self, batch: int) -> Shapes:
        """The shapes that the file itself says of inputs whose dimensions are open, by name.

        Args:
            batch: what an open batch becomes.
        """
        del batch
        return {}
