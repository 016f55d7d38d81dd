"""What a source of the catalogue's networks is; the usual one has an architecture alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import keras

from toolchain.convert.training import seeded_weights
from toolchain.core.worker import Progress
from toolchain.models.catalogue import CatalogueEntry
from toolchain.samples import catalogue_inputs, public_images

Weights = Literal["seeded", "trained", "published"]


def draw(model: keras.Model, entry: CatalogueEntry, seed: int, _progress: Progress) -> None:
    """Draw weights from a seed, with statistics measured on the entry's samples."""
    if entry.images == "drawn":
        x = public_images.of_shape((1, *entry.shape), entry.samples).x
    else:
        x = catalogue_inputs.samples(entry, 1).x
    seeded_weights.fill(model, seed, x)


@dataclass(frozen=True, kw_only=True)
class NetworkSource:
    """Where networks of the catalogue come from.

    Attributes:
        architecture: the network, without its weights.
        fill: gives it weights from a seed, where the user has none.
        read: gives it the weights in a pinned file, the entry's `pin`.
        weights: what these are: drawn, trained here or read from a pinned file of others.
    """

    architecture: Callable[[CatalogueEntry], keras.Model]
    fill: Callable[[keras.Model, CatalogueEntry, int, Progress], None] = draw
    read: Callable[[keras.Model, Path], None] | None = None
    weights: Weights = "seeded"
