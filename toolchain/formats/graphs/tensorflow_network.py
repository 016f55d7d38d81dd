"""A network that TensorFlow runs: of a Keras model, a SavedModel or a frozen graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import onnx
import tensorflow as tf

from toolchain.core.errors import ModelError
from toolchain.formats.graphs import tensorflow_graph
from toolchain.formats.network import Network


@dataclass(frozen=True, kw_only=True)
class TensorFlowNetwork(Network):
    """What TensorFlow read.

    Attributes:
        call: one batch through it, for inference.
        shape: of its input, batch first; None where it is open.
        model: the Keras model, which can be trained on; None where there is a graph alone.
    """

    call: Callable[[Any], Any]
    shape: tuple[int | None, ...]
    model: keras.Model | None = None
    _graphs: dict[tuple[int, ...], Any] = field(default_factory=dict, init=False, repr=False)

    def run(self, x: npt.NDArray[np.float32], batch: int) -> npt.NDArray[np.float32]:
        """All samples through it, by TensorFlow."""
        return tensorflow_graph.run(self.call, x, batch)

    def graph(self, shape: tuple[int, ...]) -> Any:
        """The frozen graph that TFLite and ONNX are both made of, as `tensorflow_graph.freeze`."""
        if shape not in self._graphs:
            self._graphs[shape] = tensorflow_graph.freeze(self.call, shape)
        return self._graphs[shape]

    def to_onnx(self, shape: tuple[int, ...], name: str) -> onnx.ModelProto:
        """By tf2onnx."""
        return tensorflow_graph.to_onnx(self.graph(shape), name)

    def to_tflite(self, shape: tuple[int, ...]) -> bytes:
        """By TensorFlow's converter."""
        return tensorflow_graph.to_tflite(self.graph(shape))


def dims(shape: tf.TensorShape) -> tuple[int | None, ...]:
    """A shape as `Network.shape` has it.

    Raises:
        ModelError: its rank is open.
    """
    if shape.rank is None:
        raise ModelError(
            "the model's input or output has no fixed number of dimensions",
            resolution="export it with a fixed height, width and channels",
        )
    return tuple(shape.as_list())
