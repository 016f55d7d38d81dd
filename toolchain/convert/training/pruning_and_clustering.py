"""Pruning and weight clustering, each with more training, of any Keras model.

TensorFlow's optimisation toolkit does this for models of Keras 2 alone (tf_keras), and ours are of
Keras 3. Both methods keep a rule about the weights while the model is trained on: after each step
the weights are put back to where the rule holds. One thread, seeded: the same weights every time.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import numpy.typing as npt

from toolchain.convert.training.batch_norm_folding import KERNELS
from toolchain.samples.public_images import Inputs

Array = npt.NDArray[np.float32]

SPARSITY = 0.5
CLUSTERS = 16
EPOCHS = 8
BATCH = 32
STEP = 1e-3  # Adam's; falls to nothing as half a cosine
LLOYD_ROUNDS = 20


def prune(model: keras.Model, known: Inputs, seed: int) -> None:
    """Make the smallest weights of each kernel zero, more and more of them, while training.

    The share at step t of T is s * (1 - (1 - t/T)^3) until three quarters of the steps are done,
    and s from then on (Zhu and Gupta, "To prune, or not to prune", 2017).
    """

    def thinned(done: float) -> None:
        share = SPARSITY * (1 - (1 - min(done / 0.75, 1.0)) ** 3)
        for kernel in kernels(model):
            weights = np.asarray(kernel)
            count = round(share * weights.size)
            if count:
                limit = np.partition(np.abs(weights).ravel(), count - 1)[count - 1]
                kernel.assign(np.where(np.abs(weights) <= limit, 0, weights))

    fit(model, known, seed, after_step=thinned)


def cluster(model: keras.Model, known: Inputs, seed: int) -> None:
    """Give each kernel 16 values at most, found by k-means, then train these values.

    A weight stays in its cluster; a cluster's value moves by the mean of what its weights would
    have moved by. (Han, Mao and Dally, "Deep Compression", 2016.)
    """
    parts = [clusters(np.asarray(kernel)) for kernel in kernels(model)]

    def together(_done: float) -> None:
        for kernel, part in zip(kernels(model), parts, strict=True):
            kernel.assign(averaged(np.asarray(kernel), part))

    together(0.0)
    fit(model, known, seed, after_step=together)


def kernels(model: keras.Model) -> list[keras.Variable]:
    """The weights that are multiplied with activations, in the order of the layers."""
    return [layer.kernel for layer in model.layers if isinstance(layer, KERNELS)]


def clusters(weights: Array) -> npt.NDArray[np.intp]:
    """Which of `CLUSTERS` clusters each weight is in: k-means from values spread evenly."""
    flat = weights.ravel().astype(np.float64)
    centres = np.linspace(flat.min(), flat.max(), CLUSTERS)
    for _ in range(LLOYD_ROUNDS):
        nearest = np.abs(flat[:, None] - centres).argmin(axis=1)
        counts = np.bincount(nearest, minlength=CLUSTERS)
        sums = np.bincount(nearest, weights=flat, minlength=CLUSTERS)
        centres = np.where(counts > 0, sums / np.maximum(counts, 1), centres)
    part: npt.NDArray[np.intp] = np.abs(flat[:, None] - centres).argmin(axis=1)
    return part.reshape(weights.shape)


def averaged(weights: Array, part: npt.NDArray[np.intp]) -> Array:
    """Each weight replaced by the mean of its cluster."""
    flat = weights.ravel().astype(np.float64)
    counts = np.maximum(np.bincount(part.ravel(), minlength=CLUSTERS), 1)
    means = np.bincount(part.ravel(), weights=flat, minlength=CLUSTERS) / counts
    return means[part].astype(np.float32)


def fit(
    model: keras.Model,
    known: Inputs,
    seed: int,
    *,
    epochs: int = EPOCHS,
    after_step: Callable[[float], None] = lambda _done: None,
) -> None:
    """Train a model on.

    Args:
        model: gives one score or probability a class.
        known: inputs and their classes.
        seed: draws the order of the batches.
        epochs: passes over the inputs.
        after_step: called after each step with the share of the steps done.
    """
    assert known.labels is not None
    size = min(BATCH, len(known.x))
    in_epoch = len(known.x) // size
    steps = epochs * in_epoch
    model.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(STEP, steps)),
        loss=keras.losses.SparseCategoricalCrossentropy(
            from_logits=not _probabilities(model, known.x[:size])
        ),
    )
    rng = np.random.default_rng(seed)
    done = 0
    for _ in range(epochs):
        order = rng.permutation(len(known.x))
        for start in range(0, in_epoch * size, size):
            rows = order[start : start + size]
            model.train_on_batch(known.x[rows], known.labels[rows])
            done += 1
            after_step(done / steps)


def _probabilities(model: keras.Model, x: Array) -> bool:
    """Whether a model gives probabilities, and not scores before a softmax."""
    given = np.asarray(model(x, training=False))
    return bool((given >= 0).all() and np.allclose(given.sum(axis=-1), 1, atol=1e-3))
