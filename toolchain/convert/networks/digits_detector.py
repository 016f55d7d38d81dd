"""digits-detector: a small one-stage detector trained here on digits strewn over a canvas.

Without anchors, as YOLOv8 (Jocher et al., 2023) has it: each cell of 8x8 pixels says how far the
box's four sides are from its middle, and a score for each class. Its output is laid out as YOLOv8's
exports: (4 + classes, cells); the rows are the box's middle, width and height in pixels, then the
scores. The same weights every time on one kind of CPU, as digits-cnn's.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from toolchain.convert.training.network_source import NetworkSource
from toolchain.convert.training.training_loop import Schedule, fit
from toolchain.core.worker import Progress
from toolchain.models.catalogue import CatalogueEntry
from toolchain.samples import catalogue_inputs

STRIDE = 8  # of a cell, in pixels
CHANNELS = (16, 32, 64)  # at a whole, a half and a quarter of the size; the last at an eighth too
SIDES = 4
SCHEDULE = Schedule(batch=16, steps=1200, rate=4e-3)
BOX_WEIGHT = 2.0  # of the boxes' loss beside the classes'
FOCUS = 2.0  # focal loss: what is right already counts less, by this power (Lin et al., 2017)


def architecture(entry: CatalogueEntry) -> keras.Model:
    """The network, untrained."""
    layers, ops = keras.layers, keras.ops
    assert entry.classes is not None
    given = layers.Input(entry.shape)
    x = given
    for level, channels in enumerate(CHANNELS):
        x = _conv(x, channels, f"level_{level}")
        x = layers.MaxPooling2D(name=f"level_{level}_pool")(x)
    x = _conv(x, CHANNELS[-1], "neck_1")
    x = _conv(x, CHANNELS[-1], "neck_2")
    cells = x.shape[1] * x.shape[2]
    sides = layers.Conv2D(SIDES, 1, name="sides")(x)
    sides = layers.Reshape((cells, SIDES), name="sides_of_cells")(sides)
    sides = layers.Activation("softplus", name="distances")(sides) * STRIDE
    scores = layers.Conv2D(entry.classes, 1, name="scores")(x)
    scores = layers.Reshape((cells, entry.classes), name="scores_of_cells")(scores)
    scores = layers.Activation("sigmoid", name="classes")(scores)
    before, after = sides[..., :2], sides[..., 2:]
    middle = (after - before) * 0.5 + _middles(x.shape[1], x.shape[2])
    found = ops.concatenate([middle, before + after, scores], axis=-1)
    return keras.Model(given, layers.Permute((2, 1), name="detections")(found), name="detector")


def _conv(x: Any, channels: int, name: str) -> Any:
    layers = keras.layers
    x = layers.Conv2D(channels, 3, padding="same", use_bias=False, name=f"{name}_conv")(x)
    x = layers.BatchNormalization(name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def _middles(rows: int, columns: int) -> npt.NDArray[np.float32]:
    """X and y of the middle of each cell in pixels, (1, cells, 2)."""
    y, x = np.mgrid[:rows, :columns]
    places = np.stack([x, y], axis=-1).reshape(1, -1, 2)
    return ((places + 0.5) * STRIDE).astype(np.float32)


def targets(
    boxes: list[npt.NDArray[np.float32]], side: int, classes: int
) -> npt.NDArray[np.float32]:
    """What the output should be, (images, 4 + classes, cells): a box in the cell of its middle.

    Args:
        boxes: of each image (digits, 5): left, top, right, bottom, class.
        side: of the images, in pixels.
        classes: how many there are.
    """
    across = side // STRIDE
    wanted = np.zeros((len(boxes), SIDES + classes, across * across), np.float32)
    for image, its in zip(wanted, boxes, strict=True):
        for left, top, right, bottom, digit in its:
            x, y = (left + right) / 2, (top + bottom) / 2
            cell = int(y // STRIDE) * across + int(x // STRIDE)
            image[:SIDES, cell] = (x, y, right - left, bottom - top)
            image[SIDES + int(digit), cell] = 1.0
    return wanted


def loss(wanted: Any, given: Any) -> Any:
    """Focal loss of the scores, and of the boxes in cells that have one 1 - IoU; by such cell."""
    ops = keras.ops
    known, scores = wanted[:, SIDES:], ops.clip(given[:, SIDES:], 1e-6, 1 - 1e-6)
    right = known * scores + (1 - known) * (1 - scores)
    of_classes = ops.sum(-ops.log(right) * (1 - right) ** FOCUS)
    has_box = ops.max(known, axis=1)
    of_boxes = ops.sum((1 - _overlap(wanted[:, :SIDES], given[:, :SIDES])) * has_box)
    return (of_classes + BOX_WEIGHT * of_boxes) / ops.maximum(ops.sum(has_box), 1.0)


def _overlap(first: Any, second: Any) -> Any:
    """Intersection over union of boxes (images, 4, cells) of middles, widths and heights."""
    ops = keras.ops
    (one, its), (other, others) = ((box[:, :2], box[:, 2:]) for box in (first, second))
    low = ops.maximum(one - its / 2, other - others / 2)
    high = ops.minimum(one + its / 2, other + others / 2)
    both = ops.prod(ops.maximum(high - low, 0.0), axis=1)
    either = ops.prod(its, axis=1) + ops.prod(others, axis=1) - both
    return both / ops.maximum(either, 1e-6)


def train(model: keras.Model, entry: CatalogueEntry, seed: int, progress: Progress) -> None:
    """Train it on canvases of digits that are not held out."""
    progress("training on canvases of scikit-learn's digits")
    assert entry.classes is not None
    canvases = catalogue_inputs.training_canvases(entry)
    fit(
        model,
        loss,
        x=catalogue_inputs.of_canvases(canvases, entry),
        y=targets(canvases.boxes, entry.shape[0], entry.classes),
        schedule=SCHEDULE,
        seed=seed,
    )


SOURCE = NetworkSource(architecture=architecture, fill=train, weights="trained")
