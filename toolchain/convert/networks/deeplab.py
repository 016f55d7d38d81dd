"""DeepLab V3+ on MobileNet V2's blocks, small: dilated convolutions instead of more strides.

Chen et al. (2018): atrous spatial pyramid pooling over features at an eighth of the size, beside
them what was seen at a quarter; the scores are resized to the image's size.
"""

from __future__ import annotations

from typing import Any

import keras

from toolchain.convert.training.network_source import NetworkSource
from toolchain.models.catalogue import CatalogueEntry

# channels, stride, dilation of each inverted bottleneck, at half MobileNet V2's width
BLOCKS = ((8, 1, 1), (12, 2, 1), (12, 1, 1), (16, 2, 1), (16, 1, 1), (32, 1, 2), (48, 1, 2))
EXPANSION = 6
SEEN = 2  # the last block at a quarter of the size
RATES = (6, 12)
PYRAMID, DECODER, BESIDE = 64, 64, 16


def architecture(entry: CatalogueEntry) -> keras.Model:
    """The network, untrained."""
    layers = keras.layers
    given = layers.Input(entry.shape)
    x = _conv(given, 16, 3, "conv", stride=2)
    seen = x
    for number, (channels, stride, dilation) in enumerate(BLOCKS):
        x = _bottleneck(x, channels, stride, dilation, f"block_{number}")
        seen = x if number == SEEN else seen
    x = _pyramid(x)
    x = layers.UpSampling2D(2, interpolation="bilinear", name="up_to_quarter")(x)
    x = layers.Concatenate(name="beside")([x, _conv(seen, BESIDE, 1, "seen")])
    x = _separable(x, DECODER, 1, "decoder")
    x = layers.Conv2D(entry.classes, 1, name="scores")(x)
    x = layers.UpSampling2D(4, interpolation="bilinear", name="up_to_whole")(x)
    return keras.Model(given, layers.Softmax(name="classes")(x), name="deeplab")


def _pyramid(x: Any) -> Any:
    """The features at several scales: as they are, dilated, and their mean over the image."""
    layers = keras.layers
    height, width = x.shape[1:3]
    scales = [_conv(x, PYRAMID, 1, "pyramid_1")]
    scales += [_separable(x, PYRAMID, rate, f"pyramid_{rate}") for rate in RATES]
    mean = layers.GlobalAveragePooling2D(keepdims=True, name="pyramid_mean")(x)
    mean = _conv(mean, PYRAMID, 1, "pyramid_image")
    size = (height, width)
    scales.append(layers.UpSampling2D(size, interpolation="bilinear", name="pyramid_up")(mean))
    return _conv(layers.Concatenate(name="pyramid")(scales), PYRAMID, 1, "pyramid_out")


def _bottleneck(x: Any, channels: int, stride: int, dilation: int, name: str) -> Any:
    layers = keras.layers
    given = x
    x = _conv(x, x.shape[-1] * EXPANSION, 1, f"{name}_expand", top=6.0)
    x = layers.DepthwiseConv2D(
        3,
        strides=stride,
        dilation_rate=dilation,
        padding="same",
        use_bias=False,
        name=f"{name}_depthwise",
    )(x)
    x = layers.BatchNormalization(name=f"{name}_depthwise_norm")(x)
    x = layers.ReLU(6.0, name=f"{name}_depthwise_relu")(x)
    x = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_project")(x)
    x = layers.BatchNormalization(name=f"{name}_project_norm")(x)
    if stride == 1 and given.shape[-1] == channels:
        x = layers.Add(name=f"{name}_add")([given, x])
    return x


def _separable(x: Any, channels: int, dilation: int, name: str) -> Any:
    layers = keras.layers
    x = layers.DepthwiseConv2D(
        3, dilation_rate=dilation, padding="same", use_bias=False, name=f"{name}_depthwise"
    )(x)
    x = layers.BatchNormalization(name=f"{name}_depthwise_norm")(x)
    x = layers.ReLU(name=f"{name}_depthwise_relu")(x)
    return _conv(x, channels, 1, name)


def _conv(
    x: Any, channels: int, size: int, name: str, *, stride: int = 1, top: float | None = None
) -> Any:
    """A convolution, a batch norm and a rectifier, cut off at `top`."""
    layers = keras.layers
    x = layers.Conv2D(
        channels, size, strides=stride, padding="same", use_bias=False, name=f"{name}_conv"
    )(x)
    x = layers.BatchNormalization(name=f"{name}_norm")(x)
    return layers.ReLU(top, name=f"{name}_relu")(x)


SOURCE = NetworkSource(architecture=architecture)
