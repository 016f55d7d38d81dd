"""The inputs of the catalogue's models, by what their entries say they take."""

from __future__ import annotations

import numpy as np

from toolchain.models.catalogue import CatalogueEntry
from toolchain.samples import digits_canvas, public_images, synthetic_sounds
from toolchain.samples.digits_canvas import Canvases
from toolchain.samples.public_images import HELD_OUT, Array, Inputs

CALIBRATION_DIGITS = 200
CALIBRATION_OTHERS = 24
TRAINING_CANVASES = 2000


def samples(entry: CatalogueEntry, batch: int) -> Inputs:
    """What a model is compared on; as many as fill whole batches."""
    if entry.images == "digits":
        _, _, images, labels = public_images.digits()
        # A batch larger than the held-out set starts again at its first image.
        index = np.arange(public_images.count_for(entry.samples, batch, HELD_OUT)) % HELD_OUT
        how = entry.image_preprocessing()
        return Inputs(x=public_images.prepared(images[index], how), labels=labels[index])
    if entry.images == "canvas":
        count = public_images.count_for(entry.samples, batch, None)
        return Inputs(x=of_canvases(held_out_canvases(entry, count), entry))
    return Inputs(x=_drawn(entry, public_images.count_for(entry.samples, batch, None)))


def calibration(entry: CatalogueEntry) -> Array:
    """What int8's ranges are measured on: others than the samples."""
    if entry.images == "digits":
        return training(entry).x[:CALIBRATION_DIGITS]
    if entry.images == "canvas":
        return of_canvases(training_canvases(entry), entry)[:CALIBRATION_DIGITS]
    return _drawn(entry, entry.samples + CALIBRATION_OTHERS)[entry.samples :]


def training(entry: CatalogueEntry) -> Inputs:
    """Labelled digits that are never among the samples."""
    images, labels, _, _ = public_images.digits()
    return Inputs(x=public_images.prepared(images, entry.image_preprocessing()), labels=labels)


def training_canvases(entry: CatalogueEntry) -> Canvases:
    """Canvases of digits, of those that are not held out."""
    return digits_canvas.drawn(TRAINING_CANVASES, entry.shape[0], 0, held_out=False)


def held_out_canvases(entry: CatalogueEntry, count: int) -> Canvases:
    """Canvases of held-out digits: the samples, and what accuracy is measured on."""
    return digits_canvas.drawn(count, entry.shape[0], 1, held_out=True)


def of_canvases(canvases: Canvases, entry: CatalogueEntry) -> Array:
    """Canvases as a network takes them."""
    return public_images.prepared(canvases.images, entry.image_preprocessing())


def _drawn(entry: CatalogueEntry, count: int) -> Array:
    """The first so many of an endless row of inputs."""
    if entry.spectrogram is not None:
        return synthetic_sounds.spectrograms(count, entry.shape, entry.spectrogram)
    how = entry.image_preprocessing()
    height, width, _ = entry.shape
    return public_images.prepared(public_images.photographs(count, height, width, how), how)
