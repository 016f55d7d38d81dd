"""Training that gives the same weights every time: seeded, and batches in an order of our own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast; the rate is Adam's at the start, and falls as half a cosine."""

    batch: int
    steps: int
    rate: float


def initialise(model: keras.Model, seed: int) -> None:
    """Draw the weights that its layers begin with, from a seed."""
    keras.utils.set_random_seed(seed)
    for layer in model.layers:
        for name in ("kernel_initializer", "bias_initializer"):
            initializer = getattr(layer, name, None)
            variable = getattr(layer, name.removesuffix("_initializer"), None)
            if initializer is not None and variable is not None:
                variable.assign(initializer.clone()(variable.shape))


def fit(
    model: keras.Model,
    loss: keras.losses.Loss | Callable[[Any, Any], Any],
    *,
    x: npt.NDArray[np.float32],
    y: npt.NDArray[Any],
    schedule: Schedule,
    seed: int,
) -> None:
    """Train a network from its beginning.

    Args:
        model: any.
        loss: of what is wanted and what it gave.
        x: inputs (N, ...).
        y: what is wanted of each.
        schedule: how long and how fast.
        seed: of the weights and of the batches' order.
    """
    initialise(model, seed)
    rate = keras.optimizers.schedules.CosineDecay(schedule.rate, schedule.steps)
    model.compile(optimizer=keras.optimizers.Adam(rate), loss=loss)
    random = np.random.default_rng(seed)
    order = np.empty(0, np.int64)
    for _ in range(schedule.steps):
        if len(order) < schedule.batch:
            order = random.permutation(len(x))
        chosen, order = order[: schedule.batch], order[schedule.batch :]
        model.train_on_batch(x[chosen], y[chosen])
