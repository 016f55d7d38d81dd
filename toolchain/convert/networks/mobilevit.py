"""MobileViT-XXS: inverted bottlenecks, and attention between patches of their features.

Mehta and Rastegari (2022). A block of it takes the features apart into patches of 2x2 pixels; each
pixel of a patch attends to the same pixel of all others.
"""

from __future__ import annotations

from typing import Any

import keras

from toolchain.convert.training.network_source import NetworkSource
from toolchain.models.catalogue import CatalogueEntry

EXPANSION, HEADS, PATCH = 2, 4, 2
FIRST, LAST = 16, 320
# (channels, stride) of inverted bottlenecks, or (channels, width, layers) of attention
BLOCKS: tuple[tuple[int, ...], ...] = (
    (16, 1), (24, 2), (24, 1), (24, 1), (48, 2), (48, 64, 2), (64, 2), (64, 80, 4), (80, 2),
    (80, 96, 3),
)  # fmt: skip
ATTENTION = 3


def architecture(entry: CatalogueEntry) -> keras.Model:
    """The network, untrained."""
    layers = keras.layers
    given = layers.Input(entry.shape)
    x = _conv(given, FIRST, 3, "conv", stride=2)
    for number, block in enumerate(BLOCKS):
        name = f"block_{number}"
        if len(block) == ATTENTION:
            x = _attend(x, *block, name=name)
        else:
            x = _bottleneck(x, *block, name=name)
    x = _conv(x, LAST, 1, "last")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(entry.classes, activation="softmax", name="classes")(x)
    return keras.Model(given, x, name="mobilevit")


def _attend(x: Any, channels: int, width: int, depth: int, *, name: str) -> Any:
    """A convolution that sees the neighbours, `depth` layers of attention that see all else."""
    layers = keras.layers
    given = x
    x = _conv(x, channels, 3, f"{name}_near")
    x = layers.Conv2D(width, 1, use_bias=False, name=f"{name}_widen")(x)
    height, across = x.shape[1] // PATCH, x.shape[2] // PATCH
    x = layers.Reshape((height, PATCH, across * PATCH * width), name=f"{name}_rows")(x)
    x = layers.Permute((2, 1, 3), name=f"{name}_rows_first")(x)
    x = layers.Reshape((PATCH * height * across, PATCH, width), name=f"{name}_columns")(x)
    x = layers.Permute((2, 1, 3), name=f"{name}_columns_first")(x)
    # a patch's pixel, one of the patches, channels
    x = layers.Reshape((PATCH * PATCH, height * across, width), name=f"{name}_unfold")(x)
    for number in range(depth):
        x = _transformer(x, width, f"{name}_layer_{number}")
    x = layers.LayerNormalization(name=f"{name}_layers_norm")(x)
    x = layers.Reshape((PATCH, PATCH * height * across, width), name=f"{name}_pixels")(x)
    x = layers.Permute((2, 1, 3), name=f"{name}_columns_last")(x)
    x = layers.Reshape((PATCH, height, across * PATCH * width), name=f"{name}_of_rows")(x)
    x = layers.Permute((2, 1, 3), name=f"{name}_rows_last")(x)
    x = layers.Reshape((height * PATCH, across * PATCH, width), name=f"{name}_fold")(x)
    x = _conv(x, channels, 1, f"{name}_narrow")
    x = layers.Concatenate(name=f"{name}_beside")([given, x])
    return _conv(x, channels, 3, f"{name}_out")


def _transformer(x: Any, width: int, name: str) -> Any:
    """Attention and two dense layers, each beside its input, over (patches' pixels, patches)."""
    layers = keras.layers
    pixels, patches = x.shape[1:3]
    each = width // HEADS
    y = layers.LayerNormalization(name=f"{name}_norm_1")(x)
    parts = []
    for part in ("query", "key", "value"):
        z = layers.Dense(width, name=f"{name}_{part}")(y)
        z = layers.Reshape((pixels, patches, HEADS, each), name=f"{name}_{part}_heads")(z)
        parts.append(layers.Permute((1, 3, 2, 4), name=f"{name}_{part}_first")(z))
    query, key, value = parts
    scores = keras.ops.matmul(query, keras.ops.transpose(key, (0, 1, 2, 4, 3))) * each**-0.5
    y = keras.ops.matmul(layers.Softmax(name=f"{name}_shares")(scores), value)
    y = layers.Permute((1, 3, 2, 4), name=f"{name}_heads_last")(y)
    y = layers.Reshape((pixels, patches, width), name=f"{name}_joined")(y)
    x = layers.Add(name=f"{name}_add_1")([x, layers.Dense(width, name=f"{name}_out")(y)])
    y = layers.LayerNormalization(name=f"{name}_norm_2")(x)
    y = layers.Dense(2 * width, activation="silu", name=f"{name}_dense_1")(y)
    return layers.Add(name=f"{name}_add_2")([x, layers.Dense(width, name=f"{name}_dense_2")(y)])


def _bottleneck(x: Any, channels: int, stride: int, *, name: str) -> Any:
    layers = keras.layers
    given = x
    x = _conv(x, x.shape[-1] * EXPANSION, 1, f"{name}_expand")
    x = layers.DepthwiseConv2D(
        3, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise"
    )(x)
    x = layers.BatchNormalization(name=f"{name}_depthwise_norm")(x)
    x = layers.Activation("silu", name=f"{name}_depthwise_silu")(x)
    x = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_project")(x)
    x = layers.BatchNormalization(name=f"{name}_project_norm")(x)
    if stride == 1 and given.shape[-1] == channels:
        x = layers.Add(name=f"{name}_add")([given, x])
    return x


def _conv(x: Any, channels: int, size: int, name: str, *, stride: int = 1) -> Any:
    layers = keras.layers
    x = layers.Conv2D(
        channels, size, strides=stride, padding="same", use_bias=False, name=f"{name}_conv"
    )(x)
    x = layers.BatchNormalization(name=f"{name}_norm")(x)
    return layers.Activation("silu", name=f"{name}_silu")(x)


SOURCE = NetworkSource(architecture=architecture)
