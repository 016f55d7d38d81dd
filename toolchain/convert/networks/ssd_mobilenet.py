"""SSD on MobileNet V1, a detector with anchors (Liu et al., 2016; Howard et al., 2017).

Six maps of features, three anchors a cell of the first and six of the others, as TensorFlow's
detection models have them. Boxes come out as ymin, xmin, ymax, xmax, shares of the image, and
beside them a score for each class.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from toolchain.convert.networks import mobilenet_v1
from toolchain.convert.training import network_source
from toolchain.convert.training.network_source import NetworkSource
from toolchain.core.worker import Progress
from toolchain.models.catalogue import CatalogueEntry

SEEN = (11, 13)  # blocks of the body whose features are looked at
EXTRA = ((256, 512), (128, 256), (128, 256), (64, 128))  # channels before and after a stride of 2
SMALLEST, LARGEST = 0.2, 0.95  # of anchors, as shares of the image
RATIOS = (1.0, 2.0, 1 / 2, 3.0, 1 / 3)  # of an anchor's width to its height
HEAD, LEAST_VARIANCE = 0.1, 0.1  # of drawn weights: a deviation, and of what norms divide by
CENTRE, SIZE = 10.0, 5.0  # what an anchor's changes are scaled by


def architecture(entry: CatalogueEntry) -> keras.Model:
    """The network, untrained; the entry's argument `alpha` is the share of the body's channels."""
    layers = keras.layers
    assert entry.classes is not None
    given = layers.Input(entry.shape)
    body = mobilenet_v1.body(given, float(entry.arguments["alpha"]))
    maps = [body[block - 1] for block in SEEN]
    classes = 1 + entry.classes  # the background is the first
    for number, (narrow, wide) in enumerate(EXTRA):
        x = _conv(maps[-1], narrow, 1, 1, f"extra_{number}_narrow")
        maps.append(_conv(x, wide, 3, 2, f"extra_{number}"))
    changes, scores = [], []
    for number, x in enumerate(maps):
        each = len(shapes(number, len(maps)))
        cells = x.shape[1] * x.shape[2]
        head = layers.Conv2D(4 * each, 1, name=f"boxes_{number}")(x)
        changes.append(layers.Reshape((cells * each, 4), name=f"boxes_{number}_rows")(head))
        head = layers.Conv2D(classes * each, 1, name=f"scores_{number}")(x)
        head = layers.Reshape((cells * each, classes), name=f"scores_{number}_rows")(head)
        scores.append(head)
    boxes = decoded(
        layers.Concatenate(axis=1, name="changes")(changes),
        anchors([(x.shape[1], x.shape[2]) for x in maps]),
    )
    found = layers.Concatenate(axis=1, name="raw_scores")(scores)
    found = layers.Activation("sigmoid", name="scores")(found)
    return keras.Model(given, [boxes, found], name="ssd_mobilenet")


def shapes(number: int, count: int) -> list[tuple[float, float]]:
    """The heights and widths of a map's anchors, as shares of the image.

    Args:
        number: of the map, the finest first.
        count: of the maps.
    """
    steps = [SMALLEST + (LARGEST - SMALLEST) * n / (count - 1) for n in range(count)]
    scale, coarser = steps[number], [*steps, 1.0][number + 1]
    if number == 0:
        chosen = [(SMALLEST / 2, 1.0), (scale, 2.0), (scale, 1 / 2)]
    else:
        chosen = [(scale, ratio) for ratio in RATIOS] + [((scale * coarser) ** 0.5, 1.0)]
    return [(size / ratio**0.5, size * ratio**0.5) for size, ratio in chosen]


def anchors(maps: list[tuple[int, int]]) -> npt.NDArray[np.float32]:
    """All anchors: (anchors, 4) of middles and sizes, y before x.

    Args:
        maps: rows and columns of each, the finest first.
    """
    found = []
    for number, (rows, columns) in enumerate(maps):
        sizes = np.array(shapes(number, len(maps)))
        y, x = np.mgrid[:rows, :columns]
        middles = np.stack([(y + 0.5) / rows, (x + 0.5) / columns], axis=-1).reshape(-1, 1, 2)
        middles = np.repeat(middles, len(sizes), axis=1)
        sizes = np.broadcast_to(sizes, middles.shape)
        found.append(np.concatenate([middles, sizes], axis=-1).reshape(-1, 4))
    return np.concatenate(found).astype(np.float32)


def decoded(changes: Any, known: npt.NDArray[np.float32]) -> Any:
    """Boxes of the changes of anchors: ymin, xmin, ymax, xmax."""
    middles, sizes = known[None, :, :2], known[None, :, 2:]
    middle = changes[..., :2] * (sizes / CENTRE) + middles
    half = keras.ops.exp(changes[..., 2:] * np.float32(1 / SIZE)) * (sizes / 2)
    return keras.layers.Concatenate(axis=-1, name="boxes")([middle - half, middle + half])


def _conv(x: Any, channels: int, size: int, stride: int, name: str) -> Any:
    layers = keras.layers
    x = layers.Conv2D(
        channels, size, strides=stride, padding="same", use_bias=False, name=f"{name}_conv"
    )(x)
    x = layers.BatchNormalization(name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def draw(model: keras.Model, entry: CatalogueEntry, seed: int, progress: Progress) -> None:
    """Weights of a seed, of heads as they begin training with.

    Maps of few cells are nearly the same for all photographs: their norms would make noise of that.
    """
    network_source.draw(model, entry, seed, progress)
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            variance = np.maximum(np.asarray(layer.moving_variance), LEAST_VARIANCE)
            layer.moving_variance.assign(variance)
        elif layer.name.startswith(("boxes_", "scores_")) and layer.weights:
            layer.kernel.assign(HEAD * rng.standard_normal(layer.kernel.shape))
            layer.bias.assign(np.zeros(layer.bias.shape))


SOURCE = NetworkSource(architecture=architecture, fill=draw)
