"""Real inputs for every model: photographs and digits that scikit-learn carries.

Nothing is downloaded. A user's own network gets the photographs when its input looks like an
image, else numbers drawn from a fixed seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from toolchain.models.preprocessing import Preprocessing

Array = npt.NDArray[np.float32]

HELD_OUT = 500
SIDES = (1.0, 0.82, 0.66, 0.5)  # of a photograph's shorter side
GOLDEN = 0.6180339887498949  # the fraction whose multiples spread most evenly over [0, 1)
IMAGE_CHANNELS = (1, 3)


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Inputs ready for a model, and their classes where these are real."""

    x: Array
    labels: npt.NDArray[np.int64] | None = None


def count_for(wanted: int, batch: int, available: int | None) -> int:
    """How many samples: a multiple of the batch, at least one batch, `wanted` if it divides."""
    if available is not None:
        return max(min(wanted, available) // batch, 1) * batch
    return -(-wanted // batch) * batch


def of_shape(shape: tuple[int, ...], count: int) -> Inputs:
    """Samples for an input of that shape, batch first, of a network we know nothing about.

    Images are scaled to 0..1. An input is one if it has four axes and 1 or 3 channels, last or
    second.
    """
    full = (count, *shape[1:])
    plain = Preprocessing(
        channels="RGB", resize="bilinear", scale=1 / 255, mean=(0, 0, 0), std=(1, 1, 1)
    )
    if len(shape) == 4 and shape[3] in IMAGE_CHANNELS:
        x = prepared(photographs(count, shape[1], shape[2], plain), plain)
        x = x if shape[3] == 3 else x.mean(axis=3, keepdims=True)
    elif len(shape) == 4 and shape[1] in IMAGE_CHANNELS:
        x = prepared(photographs(count, shape[2], shape[3], plain), plain)
        x = x.transpose(0, 3, 1, 2)
        x = x if shape[1] == 3 else x.mean(axis=1, keepdims=True)
    else:
        x = np.random.default_rng(0).standard_normal(full).astype(np.float32)
    return Inputs(x=np.ascontiguousarray(x, dtype=np.float32))


def digits() -> tuple[Array, npt.NDArray[np.int64], Array, npt.NDArray[np.int64]]:
    """scikit-learn's digits, 0 to 16: images and labels to train with, then held-out ones."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.images))
    images = bunch.images[order].astype(np.float32)[..., np.newaxis]
    labels = bunch.target[order].astype(np.int64)
    return images[HELD_OUT:], labels[HELD_OUT:], images[:HELD_OUT], labels[:HELD_OUT]


def photographs(count: int, height: int, width: int, how: Preprocessing) -> npt.NDArray[np.uint8]:
    """That many different crops of scikit-learn's two photographs, resized, RGB."""
    from sklearn.datasets import load_sample_image

    pictures = [Image.fromarray(load_sample_image(n)) for n in ("china.jpg", "flower.jpg")]
    method = {
        "bilinear": Image.Resampling.BILINEAR,
        "bicubic": Image.Resampling.BICUBIC,
        "area": Image.Resampling.BOX,
        "nearest": Image.Resampling.NEAREST,
    }[how.resize]
    crops = []
    for index in range(count):
        picture = pictures[index % len(pictures)]
        step = index // len(pictures)
        side = int(min(picture.size) * SIDES[step % len(SIDES)])
        left = int((picture.width - side) * ((0.5 + step * GOLDEN) % 1))
        top = int((picture.height - side) * ((0.5 + step * GOLDEN * GOLDEN) % 1))
        box = (left, top, left + side, top + side)
        crops.append(np.asarray(picture.resize((width, height), method, box=box)))
    return np.stack(crops)


def prepared(images: npt.NDArray[np.generic], how: Preprocessing) -> Array:
    """Images (N, H, W, C) as the network takes them: (pixel * scale - mean) / std."""
    ordered = images[..., ::-1] if how.channels == "BGR" else images
    scaled = ordered.astype(np.float64) * how.scale
    x = (scaled - np.asarray(how.mean)) / np.asarray(how.std)
    return np.ascontiguousarray(x, dtype=np.float32)
