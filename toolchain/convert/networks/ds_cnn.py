"""DS-CNN, a keyword spotter: a convolution, then depthwise separable ones (Zhang et al., 2017).

As MLPerf Tiny's rules shape it: 49 frames of 10 MFCCs, 64 channels, four blocks, 12 words.
"""

from __future__ import annotations

from typing import Any

import keras

from toolchain.convert.training.network_source import NetworkSource
from toolchain.models.catalogue import CatalogueEntry

CHANNELS, BLOCKS = 64, 4


def architecture(entry: CatalogueEntry) -> keras.Model:
    """The network, untrained."""
    layers = keras.layers
    given = layers.Input(entry.shape)
    x = layers.Conv2D(CHANNELS, (10, 4), strides=2, padding="same", name="conv")(given)
    x = _norm_relu(x, "conv")
    for number in range(1, BLOCKS + 1):
        x = layers.DepthwiseConv2D(3, padding="same", name=f"depthwise_{number}")(x)
        x = _norm_relu(x, f"depthwise_{number}")
        x = layers.Conv2D(CHANNELS, 1, name=f"pointwise_{number}")(x)
        x = _norm_relu(x, f"pointwise_{number}")
    x = layers.AveragePooling2D((25, 5), name="pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(entry.classes, activation="softmax", name="words")(x)
    return keras.Model(given, x, name="ds_cnn")


def _norm_relu(x: Any, after: str) -> Any:
    x = keras.layers.BatchNormalization(name=f"{after}_norm")(x)
    return keras.layers.ReLU(name=f"{after}_relu")(x)


SOURCE = NetworkSource(architecture=architecture)
