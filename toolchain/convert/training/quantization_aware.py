"""Training that knows of the rounding to int8 (quantisation-aware training), of any Keras model.

The forward pass rounds weights and activations as an int8 network will; the gradient passes the
rounding unchanged (Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", 2018). The fake-quantisation operators stay in the graph, and
TensorFlow Lite's converter takes the ranges from them. See `finetune` for why it is our own.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from toolchain.convert.training import pruning_and_clustering
from toolchain.convert.training.batch_norm_folding import KERNELS, consumers
from toolchain.samples.public_images import Inputs

EPOCHS = 6
MOMENTUM = 0.95  # of the activations' ranges
SMALLEST = 1e-6  # a range of zero has no step
# They change no value, so what comes out has the range of what goes in; softmax's is known.
PASSING = (
    keras.layers.InputLayer,
    keras.layers.Flatten,
    keras.layers.Reshape,
    keras.layers.Dropout,
    keras.layers.MaxPooling2D,
    keras.layers.Softmax,
)
ACTIVATIONS = (keras.layers.ReLU, keras.layers.Activation)


class Range(keras.layers.Layer):  # type: ignore[misc] # Keras is untyped
    """Rounds what passes to 8 bits over a range that follows it while it is trained."""

    def build(self, _shape: Any) -> None:
        """Create the range, which is empty until something passes."""
        self.low = self.add_weight(shape=(), initializer="zeros", trainable=False, name="low")
        self.high = self.add_weight(shape=(), initializer="zeros", trainable=False, name="high")

    def call(self, x: Any, training: bool = False) -> Any:  # noqa: D102 (as Keras')
        if training:
            for bound, seen in ((self.low, tf.reduce_min(x)), (self.high, tf.reduce_max(x))):
                first = tf.equal(self.low + 0.0, self.high + 0.0)
                moved = MOMENTUM * bound + (1 - MOMENTUM) * seen
                bound.assign(tf.where(first, seen, moved))
        low = tf.minimum(self.low + 0.0, 0.0) if training else self.low + 0.0
        high = tf.maximum(self.high + 0.0, low + SMALLEST) if training else self.high + 0.0
        return tf.quantization.fake_quant_with_min_max_vars(x, low, high)


class Rounded(keras.layers.Layer):  # type: ignore[misc] # Keras is untyped
    """A layer of `norms.KERNELS` whose weights are rounded to 8 bits, symmetric around zero.

    A convolution has a range a channel of its output. The others have one for all: the converter
    refuses more of a dense layer ("mismatched quantized axes"), and reshapes a depthwise kernel.
    """

    def __init__(self, like: keras.layers.Layer) -> None:
        super().__init__(name=like.name)
        self.like = like
        self.per_channel = type(like) is keras.layers.Conv2D
        # what a softmax inside the layer takes is rounded too
        self.scores = Range(name="scores") if like.activation is keras.activations.softmax else None

    def build(self, _shape: Any) -> None:
        """Create weights like those of the layer, and the limits of their ranges."""
        kernel = np.asarray(self.like.kernel)
        self.kernel = self.add_weight(shape=kernel.shape, initializer="zeros", name="kernel")
        self.kernel.assign(kernel)
        self.bias = None
        if self.like.use_bias:
            bias = np.asarray(self.like.bias)
            self.bias = self.add_weight(shape=bias.shape, initializer="zeros", name="bias")
            self.bias.assign(bias)
        shape = kernel.shape[-1:] if self.per_channel else ()
        self.limit = self.add_weight(shape=shape, initializer="ones", trainable=False, name="limit")
        self.limit.assign(self._reach(kernel))

    def call(self, x: Any, training: bool = False) -> Any:  # noqa: D102 (as Keras')
        if training:
            self.limit.assign(self._reach(self.kernel))
        limit = self.limit + 0.0
        kernel = self.kernel + 0.0
        if self.per_channel:
            rounded = tf.quantization.fake_quant_with_min_max_vars_per_channel(
                kernel, -limit, limit, narrow_range=True
            )
        else:
            rounded = tf.quantization.fake_quant_with_min_max_vars(
                kernel, -limit, limit, narrow_range=True
            )
        y = self._product(x, rounded)
        if self.bias is not None:
            y += self.bias
        if self.scores is not None:
            y = self.scores(y, training=training)
        return self.like.activation(y)

    def _reach(self, kernel: Any) -> Any:
        axes = tuple(range(len(kernel.shape) - 1)) if self.per_channel else None
        return tf.maximum(tf.reduce_max(tf.abs(kernel + 0.0), axis=axes), SMALLEST)

    def _product(self, x: Any, kernel: Any) -> Any:
        like = self.like
        if isinstance(like, keras.layers.Dense):
            return keras.ops.matmul(x, kernel)
        named = {
            "strides": like.strides,
            "padding": like.padding,
            "dilation_rate": like.dilation_rate,
            "data_format": like.data_format,
        }
        if isinstance(like, keras.layers.DepthwiseConv2D):
            return keras.ops.depthwise_conv(x, kernel, **named)
        return keras.ops.conv(x, kernel, **named)


def trained(model: keras.Model, known: Inputs, seed: int) -> keras.Model:
    """A model with folded norms, trained on with rounding; the ranges are in its graph.

    Args:
        model: from `norms.fold`.
        known: inputs and their classes.
        seed: draws the order of the batches.
    """
    made = wrapped(model)
    made(known.x[: pruning_and_clustering.BATCH], training=True)  # the ranges' first values
    pruning_and_clustering.fit(made, known, seed, epochs=EPOCHS)
    return made


def wrapped(model: keras.Model) -> keras.Model:
    """The model with `Rounded` for its layers with weights, and a `Range` after what has a range.

    The range of a layer stands after the activation that follows it alone, as the two become one
    operator.
    """
    follow = consumers(model)

    def copied(layer: keras.layers.Layer) -> keras.layers.Layer:
        if type(layer) in KERNELS:
            return Rounded(layer)
        return layer.__class__.from_config(layer.get_config())

    def called(layer: keras.layers.Layer, *args: Any, **named: Any) -> Any:
        y = layer(*args, **named)
        original = model.get_layer(layer.name)
        return Range(name=f"{layer.name}_range")(y) if _has_range(original, follow) else y

    inputs = [keras.layers.Input(batch_shape=t.shape, name=t.name) for t in model.inputs]
    ranged = [Range(name=f"{t.name}_range")(t) for t in inputs]
    body = keras.models.clone_model(model, clone_function=copied, call_function=called)
    made = keras.Model(inputs, body(ranged))
    for layer in body.layers:
        if layer.name in {one.name for one in model.layers} and not isinstance(layer, Rounded):
            layer.set_weights(model.get_layer(layer.name).get_weights())
    return made


def _has_range(layer: keras.layers.Layer, follow: dict[str, list[keras.layers.Layer]]) -> bool:
    activation = getattr(layer, "activation", None)
    if isinstance(layer, PASSING) or activation is keras.activations.softmax:
        return False
    if activation is keras.activations.linear or activation is None:
        after = follow.get(layer.name, [])
        return not (len(after) == 1 and isinstance(after[0], ACTIVATIONS))
    return True
