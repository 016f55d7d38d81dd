"""Sounds made here, and their spectrograms: inputs of networks that listen.

Each is a tone that glides, with overtones and a rise and fall as a syllable has, over noise. They
say nothing; their spectrograms have the range and the shape of speech's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from toolchain.models.preprocessing import Spectrogram
from toolchain.samples import spectrogram

RATE = spectrogram.RATE
OVERTONES = 6
NOISE = 0.01


def spectrograms(count: int, shape: tuple[int, ...], how: Spectrogram) -> npt.NDArray[np.float32]:
    """So many sounds as a network takes them, (count, *shape): frame after frame, a frame's bands.

    Args:
        count: sounds.
        shape: of one input; it says how many frames there are.
        how: how its spectrogram is made.
    """
    frames = spectrogram.frames(shape, how)
    length = spectrogram.samples(frames, how)
    filters = spectrogram.mel_filters(how)
    made = [
        spectrogram.spectrogram(sound(number, length), frames, filters, how)
        for number in range(count)
    ]
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
