"""The spectrogram of a sound, as networks that listen take it.

It travels to devices too (`deploy/runner/edgewright_device`): numpy and the standard library alone.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

RATE = 16_000  # samples a second
FLOOR = 1e-6  # of the energy in a band, below which all is silence


class Description(Protocol):
    """What is read here of `toolchain.models.preprocessing.Spectrogram`."""

    @property
    def window(self) -> int:
        """Samples of a frame."""

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""

    @property
    def bands(self) -> int:
        """Bands of a frame."""

    @property
    def coefficients(self) -> int | None:
        """Of their cosine transform; None where the bands themselves are taken."""

    @property
    def lowest(self) -> float:
        """The first band's lowest frequency, in Hz."""

    @property
    def highest(self) -> float:
        """The last band's highest frequency, in Hz."""


def frames(shape: tuple[int, ...], how: Description) -> int:
    """How many frames an input of that shape, without its batch, has."""
    return int(np.prod(shape)) // (how.coefficients or how.bands)


def samples(frames: int, how: Description) -> int:
    """How many samples of sound so many frames take."""
    return how.window + (frames - 1) * how.hop


def mel_filters(how: Description) -> npt.NDArray[np.float64]:
    """What each band takes of each frequency, (frequencies, bands): triangles that overlap by half.

    The mel scale is HTK's: 2595 log10(1 + f / 700).
    """
    lowest, highest = (2595 * np.log10(1 + f / 700) for f in (how.lowest, how.highest))
    mel = np.linspace(lowest, highest, how.bands + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    frequencies = np.fft.rfftfreq(_transform_length(how), 1 / RATE)[:, np.newaxis]
    below, centre, above = edges[:-2], edges[1:-1], edges[2:]
    rising = (frequencies - below) / (centre - below)
    falling = (above - frequencies) / (above - centre)
    return np.maximum(0.0, np.minimum(rising, falling))


def spectrogram(
    samples: npt.NDArray[np.float64],
    frames: int,
    filters: npt.NDArray[np.float64],
    how: Description,
) -> npt.NDArray[np.float64]:
    """The bands or coefficients of each frame, (frames, bands or coefficients).

    Args:
        samples: a sound (samples,) at RATE, between -1 and 1, as long as the frames at least.
        frames: how many there are.
        filters: from `mel_filters`.
        how: the description.
    """
    window = np.hanning(how.window)
    cut = np.stack([samples[n * how.hop : n * how.hop + how.window] for n in range(frames)])
    energy = np.abs(np.fft.rfft(cut * window, _transform_length(how))) ** 2 / how.window
    bands = np.log(energy @ filters + FLOOR)
    if how.coefficients is None:
        return bands
    # the cosine transform of type II, orthonormal
    angles = np.outer(np.arange(how.bands) + 0.5, np.arange(how.coefficients))
    transform = np.cos(np.pi * angles / how.bands) * np.sqrt(2 / how.bands)
    transform[:, 0] /= np.sqrt(2)
    cepstrum: npt.NDArray[np.float64] = bands @ transform
    return cepstrum


def _transform_length(how: Description) -> int:
    """The window's length, or the next power of two."""
    return 1 << (how.window - 1).bit_length()
