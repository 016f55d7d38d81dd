"""A detector of voice activity: a piece of sound and its state in, how likely it is speech out.

As Silero's detectors are built: a Fourier transform as a convolution, four convolutions along time,
a cell of an LSTM whose state the caller keeps, one score.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from toolchain.convert.training import seeded_weights
from toolchain.convert.training.network_source import NetworkSource
from toolchain.core.worker import Progress
from toolchain.models.catalogue import CatalogueEntry

WINDOW, HOP = 256, 128  # samples of sound at 16 kHz
CONVOLUTIONS = ((128, 1), (64, 2), (64, 2), (128, 1))  # channels and stride
UNITS = 128


def architecture(entry: CatalogueEntry) -> keras.Model:
    """The network, untrained."""
    layers, ops = keras.layers, keras.ops
    frame = layers.Input(entry.shape, name="frame")
    h, c = layers.Input((UNITS,), name="h"), layers.Input((UNITS,), name="c")
    x: Any = layers.Reshape((entry.shape[0], 1), name="samples")(frame)
    x = layers.ZeroPadding1D(HOP // 2, name="border")(x)
    x = layers.Conv1D(WINDOW + 2, WINDOW, strides=HOP, use_bias=False, name="fourier")(x)
    real, imaginary = x[..., : WINDOW // 2 + 1], x[..., WINDOW // 2 + 1 :]
    x = ops.sqrt(real * real + imaginary * imaginary + np.float32(1e-6))
    for number, (channels, stride) in enumerate(CONVOLUTIONS):
        name = f"conv_{number}"
        x = layers.Conv1D(channels, 3, strides=stride, padding="same", name=name)(x)
        x = layers.ReLU(name=f"{name}_relu")(x)
    cell = layers.LSTM(UNITS, return_state=True, unroll=True, name="lstm")
    x, next_h, next_c = cell(x, initial_state=[h, c])
    x = layers.Dense(1, activation="sigmoid", name="speech")(layers.ReLU(name="lstm_relu")(x))
    states = [layers.Identity(name="hn")(next_h), layers.Identity(name="cn")(next_c)]
    return keras.Model([frame, h, c], [x, *states], name="voice_activity")


def draw(model: keras.Model, _entry: CatalogueEntry, seed: int, _progress: Progress) -> None:
    """Weights of a seed, but for the transform, which is one."""
    seeded_weights.draw(model, seed)
    angles = 2 * np.pi * np.outer(np.arange(WINDOW), np.arange(WINDOW // 2 + 1)) / WINDOW
    basis = np.concatenate([np.cos(angles), -np.sin(angles)], axis=1) * np.hanning(WINDOW)[:, None]
    # noise of deviation 1 comes out with about that
    basis /= np.sqrt((np.hanning(WINDOW) ** 2).sum())
    model.get_layer("fourier").kernel.assign(basis[:, None, :].astype(np.float32))


SOURCE = NetworkSource(architecture=architecture, fill=draw)
