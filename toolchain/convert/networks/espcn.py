"""ESPCN, a super-resolution network: three convolutions and PixelShuffle (Shi et al., 2016).

PixelShuffle is TensorFlow's depth to space: the last convolution's channels become pixels.
"""

from __future__ import annotations

import keras

from toolchain.convert.training.network_source import NetworkSource
from toolchain.models.catalogue import CatalogueEntry


def architecture(entry: CatalogueEntry) -> keras.Model:
    """The network, untrained; the entry's argument `factor` says how much larger its output is."""
    layers = keras.layers
    factor, channels = int(entry.arguments["factor"]), entry.shape[-1]
    given = layers.Input(entry.shape)
    x = layers.Conv2D(64, 5, padding="same", activation="tanh", name="conv_1")(given)
    x = layers.Conv2D(32, 3, padding="same", activation="tanh", name="conv_2")(x)
    x = layers.Conv2D(channels * factor**2, 3, padding="same", name="conv_3")(x)
    return keras.Model(given, keras.ops.depth_to_space(x, factor), name="espcn")


SOURCE = NetworkSource(architecture=architecture)
