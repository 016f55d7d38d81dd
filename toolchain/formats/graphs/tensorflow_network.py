"""A network that TensorFlow runs: of a Keras model, a SavedModel or a frozen graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import keras
import onnx
import tensorflow as tf

from toolchain.core.errors import ModelError
from toolchain.formats.graphs import tensorflow_graph
from toolchain.formats.network import Network
from toolchain.formats.signature import OpenTensor, Signature, Tensor

if TYPE_CHECKING:
    from toolchain.formats.network import Array, Arrays


@dataclass(frozen=True, kw_only=True)
class TensorFlowNetwork(Network):
    """What TensorFlow read.

    Attributes:
        call: one set of inputs through it, for inference: an argument for each input, one tensor
            or a list with one for each output.
        signature: its inputs and outputs; a single one is called `input` or `output`.
        model: the Keras model, which can be trained on; None where there is a graph alone.
    """

    call: Callable[..., Any]
    signature: Signature
    model: keras.Model | None = None
    _graphs: dict[tuple[Tensor, ...], Any] = field(default_factory=dict, init=False, repr=False)
    _functions: list[Any] = field(default_factory=list, init=False, repr=False)

    def run(self, feeds: Arrays) -> dict[str, Array]:
        """By TensorFlow."""
        if not self._functions:
            self._functions.append(tf.function(self.call, autograph=False))
        given = [feeds[t.name] for t in self.signature.inputs]
        found = tensorflow_graph.run(self._functions[0], given)
        return dict(zip((t.name for t in self.signature.outputs), found, strict=True))

    def graph(self, inputs: Sequence[Tensor]) -> Any:
        """The frozen graph that TFLite and ONNX are both made of, as `tensorflow_graph.freeze`."""
        key = tuple(inputs)
        if key not in self._graphs:
            self._graphs[key] = tensorflow_graph.freeze(self.call, inputs)
        return self._graphs[key]

    def to_onnx(self, inputs: Sequence[Tensor], name: str) -> onnx.ModelProto:
        """By tf2onnx."""
        return tensorflow_graph.to_onnx(self.graph(inputs), name, self.signature)

    def to_tflite(self, inputs: Sequence[Tensor]) -> bytes:
        """By TensorFlow's converter."""
        return tensorflow_graph.to_tflite(self.graph(inputs))


def described(tensors: Sequence[tuple[str, Any]], alone: str) -> tuple[OpenTensor, ...]:
    """Tensors of TensorFlow as a signature has them.

    Args:
        tensors: each with its name.
        alone: the name of one that is alone, as all that is made of TensorFlow's networks has it.

    Raises:
        ModelError: the rank of one is open.
    """
    return tuple(
        OpenTensor(
            name=alone if len(tensors) == 1 else name,
            dims=dims(name, tensor.shape),
            dtype=tf.as_dtype(tensor.dtype).name,
        )
        for name, tensor in tensors
    )


def dims(name: str, shape: Any) -> tuple[int | None, ...]:
    """A tensor's shape as a signature has it.

    Raises:
        ModelError: its rank is open.
    """
    found = tf.TensorShape(shape)
    if found.rank is None:
        raise ModelError(
            f"the model's {name} has no fixed number of dimensions",
            resolution="export it with a shape for each input and output; sizes may be open",
        )
    return tuple(found.as_list())
