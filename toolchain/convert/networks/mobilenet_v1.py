"""MobileNet V1 of a width and input of one's choice (Howard et al., 2017).

With `alpha` 0.25 at 96x96x3 and two classes it is MLPerf Tiny's person detector, on log-mel
spectrograms of 96 frames and 64 bands the shape of YAMNet's keyword spotters.
"""

from __future__ import annotations

from typing import Any

import keras

from toolchain.convert.training.network_source import NetworkSource
from toolchain.models.catalogue import CatalogueEntry

FIRST = 32
# channels and stride of each depthwise separable block, at full width
BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1),
    (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip


def architecture(entry: CatalogueEntry) -> keras.Model:
    """The network, untrained; the entry's argument `alpha` is the share of its channels."""
    layers = keras.layers
    given = layers.Input(entry.shape)
    x = body(given, float(entry.arguments["alpha"]))[-1]
    height, width = x.shape[1:3]
    x = layers.AveragePooling2D((height, width), name="pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(entry.classes, activation="softmax", name="classes")(x)
    return keras.Model(given, x, name="mobilenet_v1")


def body(given: Any, alpha: float) -> list[Any]:
    """What each of the depthwise separable blocks gives; `alpha` is the share of the channels."""
    layers, found = keras.layers, []
    x = layers.Conv2D(
        int(FIRST * alpha), 3, strides=2, padding="same", use_bias=False, name="conv"
    )(given)
    x = _norm_relu(x, "conv")
    for number, (channels, stride) in enumerate(BLOCKS, start=1):
        x = layers.DepthwiseConv2D(
            3, strides=stride, padding="same", use_bias=False, name=f"depthwise_{number}"
        )(x)
        x = _norm_relu(x, f"depthwise_{number}")
        x = layers.Conv2D(int(channels * alpha), 1, use_bias=False, name=f"pointwise_{number}")(x)
        x = _norm_relu(x, f"pointwise_{number}")
        found.append(x)
    return found


def _norm_relu(x: Any, after: str) -> Any:
    x = keras.layers.BatchNormalization(name=f"{after}_norm")(x)
    return keras.layers.ReLU(name=f"{after}_relu")(x)


SOURCE = NetworkSource(architecture=architecture)
