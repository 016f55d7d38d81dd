"""Makes small networks of the operators that the XNNPACK delegate had to be mended for.

A program of its own, as importing TensorFlow takes long: `python operator_models.py FOLDER`
writes NAME.tflite and NAME.npz (x: inputs, y: TensorFlow's own outputs) for each network.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

SHAPE = (1, 17, 15, 12)
Layers = Callable[[tf.Tensor], tf.Tensor]


def weights(*shape: int) -> tf.Tensor:
    """Weights that are the same each time and keep activations near one."""
    drawn = np.random.default_rng(sum(shape)).normal(size=shape)
    return tf.constant(drawn / np.sqrt(np.prod(shape[:-1])), tf.float32)


def squeeze_and_excite(x: tf.Tensor) -> tf.Tensor:
    """MEAN that keeps its dimensions, 1x1 convolutions, hard swish, MUL by broadcast."""
    pooled = tf.reduce_mean(x, axis=[1, 2], keepdims=True)
    gate = tf.nn.relu6(tf.nn.conv2d(pooled, weights(1, 1, 12, 12), 1, "SAME") + 3.0) / 6.0
    y = x * gate
    return y * (tf.nn.relu6(y + 3.0) * (1.0 / 6.0))


def convolutions(x: tf.Tensor) -> tf.Tensor:
    """Dense 3x3 with stride, depthwise 3x3 and 5x5, padding, pooling, a residual."""
    y = tf.nn.relu(tf.nn.conv2d(x, weights(3, 3, 12, 24), 2, "SAME"))
    y = tf.nn.depthwise_conv2d(y, weights(3, 3, 24, 1), [1, 1, 1, 1], "SAME") + y
    y = tf.nn.depthwise_conv2d(y, weights(5, 5, 24, 1), [1, 2, 2, 1], "SAME")
    y = tf.pad(y, [[0, 0], [1, 2], [2, 1], [0, 0]])
    return tf.nn.max_pool2d(y, 2, 2, "VALID") + tf.nn.avg_pool2d(y, 2, 2, "VALID")


def head(x: tf.Tensor) -> tf.Tensor:
    """MEAN that drops its dimensions, a fully connected layer, softmax."""
    pooled = tf.reduce_mean(x, axis=[1, 2])
    return tf.nn.softmax(tf.matmul(pooled, weights(12, 10)) + 0.5)


NETWORKS: dict[str, Layers] = {
    "squeeze": squeeze_and_excite,
    "convolutions": convolutions,
    "head": head,
}


def main(folder: Path) -> None:
    """Write every network."""
    x = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    for name, layers in NETWORKS.items():
        traced = tf.function(layers).get_concrete_function(tf.TensorSpec(SHAPE, tf.float32))
        frozen = convert_variables_to_constants_v2(traced)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
        (folder / f"{name}.tflite").write_bytes(converter.convert())
        np.savez(folder / f"{name}.npz", x=x, y=layers(tf.constant(x)).numpy())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
