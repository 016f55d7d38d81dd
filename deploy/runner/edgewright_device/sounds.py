"""From a sound to a network's input: its spectrogram, as the release says.

A file is 16-bit PCM in WAVE form (RIFF), read by the standard library.
"""

from __future__ import annotations

import struct
import wave
from pathlib import Path
from typing import Any

import numpy as np

from edgewright_device import spectrogram
from edgewright_device.errors import InputError

RATE = spectrogram.RATE


def decoded(path: Path) -> np.ndarray:
    """The sound of a file, (samples,) between -1 and 1, its channels mixed, at RATE.

    Raises:
        InputError: it is no such file.
    """
    if not path.is_file():
        raise InputError(f"no such file: {path}", "give the path of a .wav file")
    try:
        with wave.open(str(path), "rb") as opened:
            rate, width, channels = (
                opened.getframerate(), opened.getsampwidth(), opened.getnchannels(),
            )  # fmt: skip
            frames = opened.readframes(opened.getnframes())
    # a size that can't be is a RuntimeError to wave
    except (wave.Error, EOFError, OSError, RuntimeError, struct.error) as error:
        raise InputError(f"{path} is no sound: {error}", "give a .wav file of PCM") from error
    if rate != RATE or width != 2:
        raise InputError(
            f"{path} has {rate} samples of {8 * width} bits a second",
            f"convert it to {RATE} samples of 16 bits a second",
        )
    whole = len(frames) // (2 * channels) * channels  # a recording may have been cut short
    samples = np.frombuffer(frames, "<i2", whole).reshape(-1, channels)
    mixed: np.ndarray = samples.mean(axis=1) / 32768
    return mixed


def prepared(sound: np.ndarray, how: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A sound as a network takes it, (1, *shape[1:]) float32: its first frames.

    Args:
        sound: (samples,) between -1 and 1; one that is too short is followed by silence.
        how: the spectrogram.
        shape: of the input, batch first.

    Raises:
        InputError: it is no sound.
    """
    if sound.ndim != 1 or sound.dtype.kind != "f":
        raise InputError(
            f"a sound is numbers of (samples,) from -1 to 1, not {sound.dtype} {sound.shape}",
            "mix its channels and divide by the largest integer",
        )
    frames = spectrogram.frames(shape[1:], how)
    length = spectrogram.samples(frames, how)
    heard = np.zeros(length)
    heard[: len(sound)] = sound[:length]
    made = spectrogram.spectrogram(heard, frames, spectrogram.mel_filters(how), how)
    return np.ascontiguousarray(made.reshape(1, *shape[1:]), dtype=np.float32)
