"""The inputs of the catalogue's models, by what their entries say they take."""

from __future__ import annotations

import numpy as np

from toolchain.models.catalogue import CatalogueEntry
from toolchain.samples import public_images, synthetic_sounds
from toolchain.samples.public_images import HELD_OUT, Array, Inputs

CALIBRATION_DIGITS = 200
CALIBRATION_OTHERS = 24


def samples(entry: CatalogueEntry, batch: int) -> Inputs:
    """What a model is compared on; as many as fill whole batches."""
    if entry.images == "digits":
        _, _, images, labels = public_images.digits()
        # A batch larger than the held-out set starts again at its first image.
        index = np.arange(public_images.count_for(entry.samples, batch, HELD_OUT)) % HELD_OUT
        how = entry.image_preprocessing()
        return Inputs(x=public_images.prepared(images[index], how), labels=labels[index])
    return Inputs(x=_drawn(entry, public_images.count_for(entry.samples, batch, None)))


def calibration(entry: CatalogueEntry) -> Array:
    """What int8's ranges are measured on: others than the samples."""
    if entry.images == "digits":
        return training(entry).x[:CALIBRATION_DIGITS]
    return _drawn(entry, entry.samples + CALIBRATION_OTHERS)[entry.samples :]


def training(entry: CatalogueEntry) -> Inputs:
    """Labelled digits that are never among the samples."""
    images, labels, _, _ = public_images.digits()
    return Inputs(x=public_images.prepared(images, entry.image_preprocessing()), labels=labels)


def _drawn(entry: CatalogueEntry, count: int) -> Array:
    """The first so many of an endless row of inputs."""
    if entry.spectrogram is not None:
        return synthetic_sounds.spectrograms(count, entry.shape, entry.spectrogram)
    how = entry.image_preprocessing()
    height, width, _ = entry.shape
    return public_images.prepared(public_images.photographs(count, height, width, how), how)
