"""ResNet-8 for 32x32 images (He et al., 2016): three residual blocks of 16, 32 and 64 channels.

As MLPerf Tiny's rules shape it for image classification, on CIFAR-10's ten classes.
"""

from __future__ import annotations

from typing import Any

import keras

from toolchain.convert.training.network_source import NetworkSource
from toolchain.models.catalogue import CatalogueEntry

STACKS = ((16, 1), (32, 2), (64, 2))  # channels, stride


def architecture(entry: CatalogueEntry) -> keras.Model:
    """The network, untrained."""
    layers = keras.layers
    given = layers.Input(entry.shape)
    x = layers.Conv2D(STACKS[0][0], 3, padding="same", name="conv")(given)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(name="relu")(x)
    for number, (channels, stride) in enumerate(STACKS, start=1):
        x = _block(x, channels, stride, f"stack_{number}")
    x = layers.AveragePooling2D(x.shape[1:3], name="pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(entry.classes, activation="softmax", name="classes")(x)
    return keras.Model(given, x, name="resnet8")


def _block(x: Any, channels: int, stride: int, name: str) -> Any:
    """Two convolutions beside the input, or beside a 1x1 convolution where its size changes."""
    layers = keras.layers
    y = layers.Conv2D(channels, 3, strides=stride, padding="same", name=f"{name}_conv_1")(x)
    y = layers.BatchNormalization(name=f"{name}_norm_1")(y)
    y = layers.ReLU(name=f"{name}_relu_1")(y)
    y = layers.Conv2D(channels, 3, padding="same", name=f"{name}_conv_2")(y)
    y = layers.BatchNormalization(name=f"{name}_norm_2")(y)
    if stride > 1:
        x = layers.Conv2D(channels, 1, strides=stride, name=f"{name}_shortcut")(x)
    x = layers.Add(name=f"{name}_add")([x, y])
    return layers.ReLU(name=f"{name}_relu_2")(x)


SOURCE = NetworkSource(architecture=architecture)
