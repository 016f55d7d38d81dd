"""A model that was read: what conversion asks of it, whatever kind of file it was in.

It lives in the worker, where the library of its kind is imported.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import onnx

Shape = tuple[int | str | None, ...]


class Network(ABC):
    """One float32 tensor in, one out, the batch first in both.

    Attributes:
        shape: of the input; None, or a name, where a dimension is open.
        is_tflite: whether the file is itself the TFLite form, with which there is nothing to
            compare it.
    """

    shape: Shape
    is_tflite: ClassVar[bool] = False

    @abstractmethod
    def run(self, x: npt.NDArray[np.float32], batch: int) -> npt.NDArray[np.float32]:
        """All samples through the model, by the library of its kind: the reference.

        Args:
            x: (samples, ...), whole batches.
            batch: samples at once.

        Raises:
            ModelError: it can't be run.
        """

    @abstractmethod
    def to_onnx(self, shape: tuple[int, ...], name: str) -> onnx.ModelProto:
        """The model as ONNX.

        Args:
            shape: of the input, batch first, all of it fixed.
            name: of the graph, where the file says none.

        Raises:
            ModelError: ONNX lacks an operator of it; the error names it.
        """

    def to_tflite(self, shape: tuple[int, ...]) -> bytes | None:
        """The model as TFLite in float32; None where it is made of the ONNX graph.

        Args:
            shape: as `to_onnx`.

        Raises:
            ModelError: TFLite lacks an operator of it; the error names it.
        """
        del shape
        return None
