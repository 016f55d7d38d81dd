"""The weights of a Keras model in a folder: made once, then read by every conversion of it."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

FILE = "weights.npz"


def read(model: keras.Model, folder: Path) -> None:
    """Give a model the weights that `write` put into a folder."""
    with np.load(folder / FILE) as arrays:
        model.set_weights([arrays[name] for name in sorted(arrays.files)])


def write(model: keras.Model, folder: Path) -> None:
    """Put a model's weights into a folder, in their order."""
    arrays = {f"{i:05}": np.asarray(w) for i, w in enumerate(model.get_weights())}
    np.savez(folder / FILE, allow_pickle=False, **arrays)
