"""Sounds made here, and their spectrograms: inputs of networks that listen.

Each is a tone that glides, with overtones and a rise and fall as a syllable has, over noise. They
say nothing; their spectrograms have the range and the shape of speech's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from toolchain.models.preprocessing import Spectrogram

RATE = 16_000  # samples a second
OVERTONES = 6
NOISE = 0.01
FLOOR = 1e-6  # of the energy in a band, below which all is silence


def spectrograms(count: int, shape: tuple[int, ...], how: Spectrogram) -> npt.NDArray[np.float32]:
    """So many sounds as a network takes them, (count, *shape): frame after frame, a frame's bands.

    Args:
        count: sounds.
        shape: of one input; it says how many frames there are.
        how: how its spectrogram is made.
    """
    kept = how.coefficients or how.bands
    frames = int(np.prod(shape)) // kept
    length = how.window + (frames - 1) * how.hop
    filters = mel_filters(how)
    made = [_spectrogram(sound(number, length), frames, filters, how) for number in range(count)]
    return np.ascontiguousarray(np.stack(made).reshape(count, *shape), dtype=np.float32)


def sound(number: int, length: int) -> npt.NDArray[np.float64]:
    """One sound (length,), between about -1 and 1; another for each number."""
    random = np.random.default_rng(number)
    seconds = np.arange(length) / RATE
    begin, end = random.uniform(90, 300, 2)
    pitch = begin + (end - begin) * np.arange(length) / length
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    loud = random.uniform(0.2, 1.0, OVERTONES) / np.arange(1, OVERTONES + 1)
    tones = sum(a * np.sin(n * phase) for n, a in enumerate(loud, start=1))
    syllables = np.sin(np.pi * seconds * random.uniform(2, 5)) ** 2
    given: npt.NDArray[np.float64] = tones * syllables / loud.sum()
    return given + NOISE * random.standard_normal(length)


def mel_filters(how: Spectrogram) -> npt.NDArray[np.float64]:
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


def _spectrogram(
    samples: npt.NDArray[np.float64],
    frames: int,
    filters: npt.NDArray[np.float64],
    how: Spectrogram,
) -> npt.NDArray[np.float64]:
    """The bands or coefficients of each frame, (frames, bands or coefficients)."""
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


def _transform_length(how: Spectrogram) -> int:
    """The window's length, or the next power of two."""
    return 1 << (how.window - 1).bit_length()
