"""U-Net, a segmenter: down, up again, and what was seen on the way down beside it.

Ronneberger et al. (2015), with batch norms and an eighth of the channels; the way up is transposed
convolutions.
"""

from __future__ import annotations

from typing import Any

import keras

from toolchain.convert.training.network_source import NetworkSource
from toolchain.models.catalogue import CatalogueEntry


def architecture(entry: CatalogueEntry) -> keras.Model:
    """The network, untrained; `channels` of its first level, `depth` levels below that."""
    layers = keras.layers
    first, depth = int(entry.arguments["channels"]), int(entry.arguments["depth"])
    given = layers.Input(entry.shape)
    x, seen = given, []
    for level in range(depth):
        x = _twice(x, first << level, f"down_{level}")
        seen.append(x)
        x = layers.MaxPooling2D(name=f"down_{level}_pool")(x)
    x = _twice(x, first << depth, "middle")
    for level in reversed(range(depth)):
        x = layers.Conv2DTranspose(first << level, 2, strides=2, name=f"up_{level}")(x)
        x = layers.Concatenate(name=f"up_{level}_beside")([seen[level], x])
        x = _twice(x, first << level, f"up_{level}")
    x = layers.Conv2D(entry.classes, 1, name="scores")(x)
    return keras.Model(given, layers.Softmax(name="classes")(x), name="unet")


def _twice(x: Any, channels: int, name: str) -> Any:
    layers = keras.layers
    for number in (1, 2):
        x = layers.Conv2D(
            channels, 3, padding="same", use_bias=False, name=f"{name}_conv_{number}"
        )(x)
        x = layers.BatchNormalization(name=f"{name}_norm_{number}")(x)
        x = layers.ReLU(name=f"{name}_relu_{number}")(x)
    return x


SOURCE = NetworkSource(architecture=architecture)
