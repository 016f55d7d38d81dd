"""What a user gives as `--input`: pictures, sounds, arrays, or a folder of them.

A picture is decoded here, upright as its camera was; all that makes an input of its pixels is done
on the device.
"""

from __future__ import annotations

import struct
import wave
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageOps

from toolchain.accuracy.dataset import ENDINGS
from toolchain.core.errors import UsageError
from toolchain.formats.signature import Tensor
from toolchain.models.samples_file import INPUT, UNREADABLE

Array = npt.NDArray[Any]
SOUNDS, ARRAYS, ARRAY = ".wav", ".npz", ".npy"
RATE = 16_000
MOST_BYTES = 256 << 20
KINDS = f"pictures ({', '.join(sorted(ENDINGS))}), {SOUNDS}, {ARRAY}, {ARRAYS}"


@dataclass(frozen=True, kw_only=True)
class Item:
    """What one inference is given.

    Attributes:
        name: of its file, and its number there where that holds several.
        path: of the file.
        picture: (height, width) or (height, width, 3) of bytes, RGB.
        sound: (samples,) from -1 to 1, at 16,000 Hz.
        arrays: by the names of inputs; empty where there is a picture or a sound.
        begins: whether a sequence begins with it, for networks with state.
    """

    name: str
    path: Path
    picture: npt.NDArray[np.uint8] | None = None
    sound: npt.NDArray[np.float64] | None = None
    arrays: Mapping[str, Array]
    begins: bool = True


def read(path: Path, inputs: Sequence[Tensor], fed: Sequence[str]) -> list[Item]:
    """What a path holds.

    Args:
        path: a file, or a folder of them.
        inputs: the network's.
        fed: the names of those that have a state, which may be left out.

    Raises:
        UsageError: it is nothing that can be run, or not what the network takes.
    """
    if path.is_dir():
        known = {*ENDINGS, SOUNDS, ARRAY, ARRAYS}
        # a pipe among them would be waited for
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in known and p.is_file())
        if not files:
            raise UsageError(f"{path} holds nothing to run", resolution=f"give {KINDS}")
        return [item for file in files for item in _file(file, inputs, fed)]
    if not path.is_file():
        raise UsageError(f"no such file: {path}", resolution=f"give {KINDS}, or a folder of them")
    return list(_file(path, inputs, fed))


def _file(path: Path, inputs: Sequence[Tensor], fed: Sequence[str]) -> Iterator[Item]:
    suffix = path.suffix.lower()
    own = [tensor for tensor in inputs if tensor.name not in fed]
    if suffix in (ARRAY, ARRAYS):
        yield from _arrays(path, inputs, fed)
        return
    if suffix not in ENDINGS and suffix != SOUNDS:
        raise UsageError(f"{path.name} is nothing that can be run", resolution=f"give {KINDS}")
    if len(own) != 1:
        raise UsageError(
            f"the model takes {len(own)} inputs, and {path.name} is one",
            detail=listed(own),
            resolution="give an .npz with an array for each: numpy.savez('in.npz', NAME=array)",
        )
    if suffix == SOUNDS:
        yield Item(name=path.name, path=path, sound=_sound(path), arrays={})
    else:
        grey = 1 in own[0].shape[1:] and 3 not in own[0].shape[1:]
        yield Item(name=path.name, path=path, picture=picture(path, grey=grey), arrays={})


def picture(path: Path, *, grey: bool = False) -> npt.NDArray[np.uint8]:
    """The pixels of a file, upright as its camera was: RGB, or grey.

    Raises:
        UsageError: it is no picture.
    """
    try:
        with PIL.Image.open(path) as opened:
            upright = PIL.ImageOps.exif_transpose(opened)
            return np.asarray(upright.convert("L" if grey else "RGB"), np.uint8)
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise UsageError(
            f"{path.name} is no picture that can be read",
            detail=str(error),
            resolution="give a JPEG or PNG file: --input cat.jpg",
        ) from error


def _sound(path: Path) -> npt.NDArray[np.float64]:
    try:
        with wave.open(str(path), "rb") as opened:
            form = opened.getframerate(), 8 * opened.getsampwidth()
            channels, frames = opened.getnchannels(), opened.readframes(opened.getnframes())
    # a size that can't be is a RuntimeError to wave
    except (wave.Error, EOFError, OSError, RuntimeError, struct.error) as error:
        raise UsageError(
            f"{path.name} is no sound that can be read",
            detail=str(error),
            resolution="give a .wav file of PCM",
        ) from error
    if form != (RATE, 16):
        raise UsageError(
            f"{path.name} has {form[0]} samples a second of {form[1]} bits",
            resolution=f"convert it: sox {path.name} -r {RATE} -b 16 converted.wav",
        )
    whole = len(frames) // (2 * channels) * channels  # a recording may have been cut short
    mixed = np.frombuffer(frames, "<i2", whole).reshape(-1, channels).mean(axis=1) / 32768
    return np.asarray(mixed, np.float64)


def _arrays(path: Path, inputs: Sequence[Tensor], fed: Sequence[str]) -> Iterator[Item]:
    """Each inference of a file of arrays: all of one network's inputs, or of several inferences."""
    found, others = _loaded(path, inputs)
    if not any(tensor.name not in fed for tensor in inputs if tensor.name in found):
        raise UsageError(
            f"{path.name} has none of the model's inputs",
            detail=f"it has {', '.join([*found, *others]) or 'nothing'}\n{listed(inputs)}",
            resolution="name each array as its input: numpy.savez('in.npz', NAME=array)",
        )
    missing = [t.name for t in inputs if t.name not in found and t.name not in fed]
    if missing:
        raise UsageError(
            f"{path.name} has no array {missing[0]}",
            detail=listed(inputs),
            resolution="give an array for each input: numpy.savez('in.npz', NAME=array)",
        )
    counts = {_inferences(path, t, found[t.name]) for t in inputs if t.name in found}
    if len(counts) > 1:
        raise UsageError(
            f"{path.name}: its arrays are of different numbers of inferences",
            detail="\n".join(f"{name}: {array.shape}" for name, array in found.items()),
            resolution=f"give each input's own shape, or as many of each\n{listed(inputs)}",
        )
    (count,) = counts
    by = {t.name: t for t in inputs if t.name in found}
    for number in range(count or 1):
        given = {name: found[name] if count is None else found[name][number] for name in by}
        # of a sequence only the beginning is given; what follows is what the network made
        kept = {n: a for n, a in given.items() if number == 0 or n not in fed}
        name = path.name if count is None else f"{path.name}[{number}]"
        yield Item(name=name, path=path, arrays=kept, begins=number == 0)


def _loaded(path: Path, inputs: Sequence[Tensor]) -> tuple[dict[str, Array], list[str]]:
    """The arrays of a file by the names of inputs; `in:NAME` is NAME, as in samples.npz.

    A file of one array needs no name for a network of one input.

    Returns:
        the arrays, and the names of what else is there.
    """
    known = {tensor.name for tensor in inputs}
    try:
        if _size(path) > MOST_BYTES:
            raise UsageError(
                f"{path.name} holds more than {MOST_BYTES >> 20} MiB",
                resolution="give its inputs in several files",
            )
        opened = np.load(path, allow_pickle=False)
        if isinstance(opened, np.ndarray):
            return {inputs[0].name: opened}, []
        with opened as arrays:
            names = {key.removeprefix(INPUT): key for key in arrays.files}
            if len(names) == len(known) == 1:
                names = dict(zip(known, names.values(), strict=True))
            found = {name: arrays[key] for name, key in names.items() if name in known}
            return found, sorted(names.keys() - known)
    except UNREADABLE as error:
        raise UsageError(
            f"{path.name} holds no arrays that can be read",
            detail=str(error),
            resolution="write it by numpy.savez('in.npz', NAME=array)",
        ) from error


def _size(path: Path) -> int:
    """Bytes of a file of arrays, unpacked."""
    if path.suffix.lower() == ARRAY:
        return path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        return sum(member.file_size for member in archive.infolist())


def _inferences(path: Path, tensor: Tensor, array: Array) -> int | None:
    """How many inferences an array is for; None for one that is the input itself.

    Raises:
        UsageError: it is neither, or of another type.
    """
    one = (tensor.shape, tensor.shape[1:]) if tensor.shape[:1] == (1,) else (tensor.shape,)
    fits = array.shape in one or array.shape[1:] == tensor.shape
    if not fits or array.size == 0:
        raise UsageError(
            f"{path.name}: {tensor.name} has shape {array.shape}",
            detail=listed([tensor]),
            resolution=f"give it as {tensor.shape}, or several of them as "
            f"({', '.join(map(str, ('N', *tensor.shape)))})",
        )
    if not np.can_cast(array.dtype, tensor.dtype, "same_kind") and not tensor.quantization:
        raise UsageError(
            f"{path.name}: {tensor.name} is {array.dtype}",
            detail=listed([tensor]),
            resolution=f"convert it: array.astype('{tensor.dtype}')",
        )
    return None if array.shape in one else len(array)


def listed(tensors: Sequence[Tensor]) -> str:
    """Inputs in words, one a line."""
    return "\n".join(f"input {t.name}: {t.dtype} {t.shape}" for t in tensors)
