"""YOLOv8-nano, a detector: C2f blocks, SPPF, a path up and down again, a head with DFL.

Jocher et al. (2023). Its output is laid out as the exports': (4 + classes, boxes), middles, widths
and heights in pixels, then scores.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from toolchain.convert.training.network_source import NetworkSource
from toolchain.models.catalogue import CatalogueEntry

CHANNELS = (16, 32, 64, 128, 256)  # YOLOv8n's, at a half to a 32nd of the size
REPEATS = (1, 2, 2, 1)
BINS = 16  # of a side's distribution (Li et al., 2020)
STRIDES = (8, 16, 32)


def architecture(entry: CatalogueEntry) -> keras.Model:
    """The network, untrained."""
    layers = keras.layers
    assert entry.classes is not None
    given = layers.Input(entry.shape)
    x, seen = _conv(given, CHANNELS[0], 3, "stem", stride=2), []
    for level, (channels, repeats) in enumerate(zip(CHANNELS[1:], REPEATS, strict=True)):
        x = _conv(x, channels, 3, f"down_{level}", stride=2)
        x = _c2f(x, channels, repeats, f"stage_{level}", beside=True)
        seen.append(x)
    deep = _sppf(x, "sppf")
    middle = _joined(_up(deep, "up_16"), seen[2], CHANNELS[3], "join_16")
    fine = _joined(_up(middle, "up_8"), seen[1], CHANNELS[2], "join_8")
    down = _conv(fine, CHANNELS[2], 3, "again_16", stride=2)
    middle = _joined(down, middle, CHANNELS[3], "rejoin_16")
    down = _conv(middle, CHANNELS[3], 3, "again_32", stride=2)
    deep = _joined(down, deep, CHANNELS[4], "rejoin_32")
    heads = [
        _head(x, entry.classes, stride)
        for x, stride in zip((fine, middle, deep), STRIDES, strict=True)
    ]
    found = layers.Concatenate(axis=1, name="boxes")(heads)
    return keras.Model(given, layers.Permute((2, 1), name="detections")(found), name="yolov8")


def _c2f(x: Any, channels: int, repeats: int, name: str, *, beside: bool) -> Any:
    """Half of the channels through bottlenecks, each of whose outputs is kept."""
    layers, half = keras.layers, channels // 2
    x = _conv(x, channels, 1, f"{name}_in")
    parts = keras.ops.split(x, 2, axis=-1)
    for number in range(repeats):
        y = _conv(parts[-1], half, 3, f"{name}_{number}_1")
        y = _conv(y, half, 3, f"{name}_{number}_2")
        if beside:
            y = layers.Add(name=f"{name}_{number}_add")([parts[-1], y])
        parts = [*parts, y]
    return _conv(layers.Concatenate(name=f"{name}_parts")(parts), channels, 1, f"{name}_out")


def _sppf(x: Any, name: str) -> Any:
    """The features, and three times the maximum of their neighbours."""
    layers, channels = keras.layers, x.shape[-1]
    x = _conv(x, channels // 2, 1, f"{name}_in")
    pools = [x]
    for number in range(3):
        pool = layers.MaxPooling2D(5, strides=1, padding="same", name=f"{name}_pool_{number}")
        pools.append(pool(pools[-1]))
    return _conv(layers.Concatenate(name=f"{name}_pools")(pools), channels, 1, f"{name}_out")


def _up(x: Any, name: str) -> Any:
    return keras.layers.UpSampling2D(2, interpolation="nearest", name=name)(x)


def _joined(x: Any, other: Any, channels: int, name: str) -> Any:
    x = keras.layers.Concatenate(name=f"{name}_both")([x, other])
    return _c2f(x, channels, 1, name, beside=False)


def _head(x: Any, classes: int, stride: int) -> Any:
    """What the cells of one size say, (cells, 4 + classes)."""
    layers, ops, name = keras.layers, keras.ops, f"head_{stride}"
    rows, columns = x.shape[1:3]
    cells = rows * columns
    sides = _conv(x, 4 * BINS, 3, f"{name}_sides_1")
    sides = _conv(sides, 4 * BINS, 3, f"{name}_sides_2")
    sides = layers.Conv2D(4 * BINS, 1, name=f"{name}_bins")(sides)
    sides = layers.Softmax(name=f"{name}_shares")(ops.reshape(sides, (-1, cells, 4, BINS)))
    # the mean of a side's distribution, in cells
    bins = np.arange(BINS, dtype=np.float32)
    sides = ops.sum(sides * bins, axis=-1)
    scores = _conv(x, max(CHANNELS[2], classes), 3, f"{name}_scores_1")
    scores = _conv(scores, max(CHANNELS[2], classes), 3, f"{name}_scores_2")
    scores = layers.Conv2D(classes, 1, name=f"{name}_scores")(scores)
    scores = layers.Activation("sigmoid", name=f"{name}_classes")(scores)
    before, after = sides[..., :2], sides[..., 2:]
    y, x_ = np.mgrid[:rows, :columns]
    middles = (np.stack([x_, y], axis=-1).reshape(1, cells, 2) + 0.5).astype(np.float32)
    middle = ((after - before) * 0.5 + middles) * stride
    size = (before + after) * stride
    return ops.concatenate([middle, size, ops.reshape(scores, (-1, cells, classes))], axis=-1)


def _conv(x: Any, channels: int, size: int, name: str, *, stride: int = 1) -> Any:
    layers = keras.layers
    x = layers.Conv2D(
        channels, size, strides=stride, padding="same", use_bias=False, name=f"{name}_conv"
    )(x)
    x = layers.BatchNormalization(name=f"{name}_norm")(x)
    return layers.Activation("silu", name=f"{name}_silu")(x)


SOURCE = NetworkSource(architecture=architecture)
