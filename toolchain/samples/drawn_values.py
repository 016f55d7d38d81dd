"""What a network is given that nobody gave samples of: by what each input is.

Photographs for images, indices below their table's rows, masks, lengths and rates by their names,
numbers of a fixed seed for the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from toolchain.formats.signature import Tensor
from toolchain.formats.state import State
from toolchain.samples import public_images
from toolchain.samples.sets import Array, Sets

SAMPLE_RATE = 16_000  # Hz; what speech networks take

_PIXELS = {"uint8": 0, "int8": 128}  # what is taken from a byte


def of_inputs(
    inputs: Sequence[Tensor], count: int, limits: Mapping[str, int], state: State | None = None
) -> Sets:
    """Values for every input of a network that we know nothing else about.

    Args:
        inputs: the network's.
        count: inferences.
        limits: what the values of some integer inputs must be below, by name.
        state: the network's; each sequence begins with zeros.
    """
    fed = {} if state is None else state.inputs
    arrays: dict[str, Array] = {}
    origins: dict[str, str] = {}
    for position, tensor in enumerate(inputs):
        others = [one for one in inputs if one is not tensor]
        if state is not None and tensor.name in fed:
            choose, said = _begun(state, tensor.name)
        else:
            choose, said = _choice(tensor, others, limits.get(tensor.name))
        random = np.random.default_rng(position)
        full = (count, *tensor.shape)
        if said == _PHOTOGRAPHS:
            arrays[tensor.name] = _photographs(tensor, count).reshape(full)
        else:
            arrays[tensor.name] = np.ascontiguousarray(choose(random, full), tensor.dtype)
        origins[tensor.name] = said
    return Sets(arrays=arrays, origins=origins, state=state)


_Choose = Callable[[np.random.Generator, tuple[int, ...]], Array]
_PHOTOGRAPHS = "photographs"


def _begun(state: State, name: str) -> tuple[_Choose, str]:
    said = f"zeros, then what {state.inputs[name]} was: sequences of {state.steps} steps"
    return _zeros, said


def _choice(tensor: Tensor, others: Sequence[Tensor], limit: int | None) -> tuple[_Choose, str]:
    """How values of an input are chosen, and that in words."""
    if limit is not None:
        return lambda random, shape: random.integers(0, limit, shape), f"indices below {limit}"
    return _by_name(tensor, others) or _by_type(tensor)


def _by_name(tensor: Tensor, others: Sequence[Tensor]) -> tuple[_Choose, str] | None:
    """The same of an input that is called by what it is."""
    name = tensor.name.lower()
    counts = np.dtype(tensor.dtype).kind in "iu"
    if "mask" in name:
        return _mask, "a mask: ones, then zeros"
    if counts and re.search(r"len(gth)?s?$|lengths?_|num_", name):
        longest = max((max(o.shape[1:] or (1,)) for o in others), default=1)
        return lambda _, shape: np.full(shape, longest), f"the length {longest}"
    if counts and re.search(r"^sr$|rate$", name):
        return lambda _, shape: np.full(shape, SAMPLE_RATE), f"a rate of {SAMPLE_RATE} Hz"
    return None


def _by_type(tensor: Tensor) -> tuple[_Choose, str]:
    """The same of an input whose name says nothing."""
    kind = np.dtype(tensor.dtype).kind
    if is_image(tensor) and (kind == "f" or tensor.dtype in _PIXELS):
        return _zeros, _PHOTOGRAPHS
    if kind == "f":
        return lambda random, shape: random.standard_normal(shape), "numbers of a seed"
    if kind == "b":
        return lambda random, shape: random.random(shape) < 0.5, "truth values of a seed"
    if tensor.quantization is not None or np.dtype(tensor.dtype).itemsize == 1:
        return partial(_whole_range, tensor.dtype), "numbers of a seed over its whole range"
    return lambda random, shape: random.integers(0, 2, shape), "zeros and ones of a seed"


def _whole_range(dtype: str, random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max, shape, endpoint=True)


def _zeros(_random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.zeros(shape)


def _mask(_random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Ones in the first inference; in the others the last quarter of the last axis is zero."""
    mask = np.ones(shape)
    if len(shape) > 1:
        mask[1:, ..., shape[-1] - shape[-1] // 4 :] = 0
    return mask


def is_image(tensor: Tensor) -> bool:
    """Whether an input has four axes, and 1 or 3 channels last or second."""
    shape, channels = tensor.shape, public_images.IMAGE_CHANNELS
    return len(shape) == 4 and (shape[3] in channels or shape[1] in channels)


def _photographs(tensor: Tensor, count: int) -> Array:
    """Photographs of 0 to 1, or of bytes where the input takes such."""
    samples = count * tensor.shape[0]
    x = public_images.of_shape(tensor.shape, samples).x
    if tensor.dtype in _PIXELS:
        return np.asarray(np.rint(x * 255) - _PIXELS[tensor.dtype]).astype(tensor.dtype)
    return x.astype(tensor.dtype)
