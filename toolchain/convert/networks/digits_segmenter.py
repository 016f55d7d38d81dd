"""digits-segmenter: a small U-Net trained here on digits strewn over a canvas.

Its scores say of each pixel which digit it belongs to, or that it is background. The same weights
every time on one kind of CPU, as digits-cnn's.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from toolchain.convert.networks import unet
from toolchain.convert.training.network_source import NetworkSource
from toolchain.convert.training.training_loop import Schedule, fit
from toolchain.core.worker import Progress
from toolchain.models.catalogue import CatalogueEntry
from toolchain.samples import catalogue_inputs

SCHEDULE = Schedule(batch=16, steps=1000, rate=6e-3)
INK_WEIGHT = 8.0  # of a digit's pixel beside the background's, of which there are ten times as many


def loss(wanted: Any, given: Any) -> Any:
    """Cross-entropy of each pixel, (images, height, width), digits weighing more."""
    ops = keras.ops
    weights = ops.where(wanted > 0, INK_WEIGHT, 1.0)
    return weights * keras.losses.sparse_categorical_crossentropy(wanted, given)


def train(model: keras.Model, entry: CatalogueEntry, seed: int, progress: Progress) -> None:
    """Train it on canvases of digits that are not held out."""
    progress("training on canvases of scikit-learn's digits")
    canvases = catalogue_inputs.training_canvases(entry)
    fit(
        model,
        loss,
        x=catalogue_inputs.of_canvases(canvases, entry),
        y=canvases.classes.astype(np.int32),
        schedule=SCHEDULE,
        seed=seed,
    )


SOURCE = NetworkSource(architecture=unet.architecture, fill=train, weights="trained")
