"""digits-cnn: a small network trained here, so that one model's accuracy is real.

The same weights every time on one kind of CPU: seeded, one thread, deterministic kernels, and
batches in an order of our own.
"""

from __future__ import annotations

import keras
import numpy as np

from toolchain.convert.training import training_loop
from toolchain.models import catalogue
from toolchain.samples import public_images

EPOCHS = 24
BATCH = 32
STEP = 2e-3  # Adam's at the start; falls to nothing as half a cosine


def architecture(shape: tuple[int, int, int], classes: int) -> keras.Model:
    """The network, untrained."""
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input(shape),
            layers.Conv2D(16, 3, padding="same", use_bias=False, name="conv_1"),
            layers.BatchNormalization(name="norm_1"),
            layers.ReLU(name="relu_1"),
            layers.Conv2D(32, 3, padding="same", use_bias=False, name="conv_2"),
            layers.BatchNormalization(name="norm_2"),
            layers.ReLU(name="relu_2"),
            layers.MaxPooling2D(name="pool"),
            layers.Flatten(name="flatten"),
            layers.Dense(64, activation="relu", name="hidden"),
            layers.Dense(classes, activation="softmax", name="classes"),
        ],
        name="digits_cnn",
    )


def train(model: keras.Model, seed: int) -> None:
    """Train it on all of scikit-learn's digits but the held-out ones."""
    training_loop.initialise(model, seed)
    images, labels, _, _ = public_images.digits()
    x = public_images.prepared(images, catalogue.entries()["digits-cnn"].image_preprocessing())
    steps = EPOCHS * (len(x) // BATCH)
    model.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(STEP, steps)),
        loss="sparse_categorical_crossentropy",
    )
    rng = np.random.default_rng(seed)
    for _ in range(EPOCHS):
        order = rng.permutation(len(x))
        for start in range(0, len(x) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            model.train_on_batch(x[chosen], labels[chosen])
