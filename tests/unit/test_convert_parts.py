"""Samples, comparison and shapes: what conversion is measured with."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.worker_jobs import COPIES_FREED, Freed
from toolchain.core import worker
from toolchain.models import catalogue
from toolchain.models.preprocessing import Spectrogram
from toolchain.samples import catalogue_inputs, public_images, spectrogram, synthetic_sounds


def test_samples_are_a_multiple_of_the_batch() -> None:
    assert public_images.count_for(8, 1, None) == 8
    assert public_images.count_for(8, 3, None) == 9
    assert public_images.count_for(8, 32, None) == 32
    assert public_images.count_for(500, 1, 500) == 500
    assert public_images.count_for(500, 32, 500) == 480
    assert public_images.count_for(500, 512, 500) == 512


def test_photographs_are_all_different_and_the_same_every_time() -> None:
    entry = catalogue.entries()["densenet121"]
    first = catalogue_inputs.samples(entry, 16)
    assert first.labels is None
    assert first.x.shape == (16, 224, 224, 3)
    assert len({image.tobytes() for image in first.x}) == 16
    assert catalogue_inputs.samples(entry, 16).x.tobytes() == first.x.tobytes()
    # "torch" preprocessing: about zero mean and unit variance
    assert abs(float(first.x.mean())) < 1
    assert 0.5 < float(first.x.std()) < 2


def test_held_out_digits_are_not_trained_with() -> None:
    train, _, held_out, labels = public_images.digits()
    assert len(held_out) == len(labels) == 500
    assert not {i.tobytes() for i in train} & {i.tobytes() for i in held_out}


def test_digits_go_in_as_the_catalogue_says() -> None:
    found = catalogue_inputs.samples(catalogue.entries()["digits-cnn"], 1)
    assert found.x.shape == (500, 8, 8, 1)
    assert (found.x.min(), found.x.max()) == (0.0, 1.0)
    assert found.labels is not None
    assert set(found.labels.tolist()) == set(range(10))


def test_the_peak_of_a_tones_spectrogram_is_in_the_band_of_its_pitch() -> None:
    how = Spectrogram(window=512, hop=256, bands=40, lowest=20.0, highest=4000.0)
    filters = spectrogram.mel_filters(how)
    tone = np.sin(2 * np.pi * 1000 * np.arange(512) / spectrogram.RATE)
    energy = np.abs(np.fft.rfft(tone * np.hanning(512))) ** 2
    highest = 2595 * np.log10(1 + 4000 / 700)
    lowest = 2595 * np.log10(1 + 20 / 700)
    step = (highest - lowest) / 41
    expected = round((2595 * np.log10(1 + 1000 / 700) - lowest) / step) - 1
    assert int((energy @ filters).argmax()) == expected


def test_coefficients_are_the_orthonormal_cosine_transform_of_the_bands() -> None:
    bands = Spectrogram(window=480, hop=320, bands=16)
    whole = bands.model_copy(update={"coefficients": 16})
    plain = synthetic_sounds.spectrograms(2, (5, 16), bands)
    transformed = synthetic_sounds.spectrograms(2, (5, 16), whole)
    assert np.linalg.norm(transformed) == pytest.approx(np.linalg.norm(plain), rel=1e-5)
    assert transformed[0, 0, 0] == pytest.approx(plain[0, 0].mean() * 4, rel=1e-5)


@pytest.mark.parametrize("name", ["ds-cnn", "anomaly-autoencoder", "keyword-mobilenet"])
def test_sounds_are_all_different_and_what_ranges_are_measured_on_is_none_of_the_samples(
    name: str,
) -> None:
    entry = catalogue.entries()[name]
    found = catalogue_inputs.samples(entry, 1).x
    others = catalogue_inputs.calibration(entry)
    assert found.shape == (entry.samples, *entry.shape)
    assert np.isfinite(found).all()
    assert len({x.tobytes() for x in [*found, *others]}) == len(found) + len(others)


@pytest.mark.parametrize("shape", [(1, 32, 24, 3), (1, 3, 32, 24), (1, 1, 16, 16), (1, 8, 8, 1)])
def test_an_unknown_network_that_takes_images_gets_photographs(shape: tuple[int, ...]) -> None:
    found = public_images.of_shape(shape, 4).x
    assert found.shape == (4, *shape[1:])
    assert found.dtype == np.float32
    assert 0 <= found.min() < found.max() <= 1


def test_an_unknown_network_that_takes_vectors_gets_seeded_numbers() -> None:
    found = public_images.of_shape((2, 40), 8).x
    assert found.shape == (8, 40)
    assert found.tobytes() == public_images.of_shape((2, 40), 8).x.tobytes()


def test_a_copy_of_a_graph_is_gone_when_the_next_optimiser_begins() -> None:
    assert worker.call(COPIES_FREED, None, what="optimising") == Freed(before=True, after=False)
