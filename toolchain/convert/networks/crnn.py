"""CRNN, a recogniser of lines of text: convolutions, then two bidirectional LSTMs along the line.

Shi, Bai and Yao (2015). A column of features is a step; for each comes out how likely each
character is, and none, the first.
"""

from __future__ import annotations

from typing import Any

import keras

from toolchain.convert.training.network_source import NetworkSource
from toolchain.models.catalogue import CatalogueEntry

# channels, whether a batch norm follows, and the strides of the pooling after it
BLOCKS: tuple[tuple[int, bool, tuple[int, int] | None], ...] = (
    (64, False, (2, 2)),
    (128, False, (2, 2)),
    (256, True, None),
    (256, False, (2, 1)),
    (512, True, None),
    (512, False, (2, 1)),
)
LAST = 512
UNITS = 256


def architecture(entry: CatalogueEntry) -> keras.Model:
    """The network, untrained."""
    layers = keras.layers
    given = layers.Input(entry.shape)
    x: Any = given
    for number, (channels, normed, strides) in enumerate(BLOCKS):
        x = _conv(x, channels, 3, f"conv_{number}", normed=normed)
        if strides is not None:
            pool = layers.MaxPooling2D(2, strides=strides, padding="same", name=f"pool_{number}")
            x = pool(x)
    x = _conv(x, LAST, 2, "conv_last", normed=True, padding="valid")
    x = layers.Reshape((x.shape[2], LAST), name="columns")(x)
    for number in range(2):
        cell = layers.LSTM(UNITS, return_sequences=True, unroll=True, name=f"lstm_{number}")
        x = layers.Bidirectional(cell, name=f"both_ways_{number}")(x)
        if number == 0:
            x = layers.Dense(UNITS, name="between")(x)
    x = layers.Dense(entry.classes, name="scores")(x)
    return keras.Model(given, layers.Softmax(name="characters")(x), name="crnn")


def _conv(
    x: Any, channels: int, size: int, name: str, *, normed: bool, padding: str = "same"
) -> Any:
    layers = keras.layers
    x = layers.Conv2D(channels, size, padding=padding, use_bias=not normed, name=name)(x)
    if normed:
        x = layers.BatchNormalization(name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


SOURCE = NetworkSource(architecture=architecture)
