"""Arrays as ncnn has them: up to four axes, each channel beginning where vectors want it to."""

from __future__ import annotations

import ctypes
import math
import weakref
from typing import Any

import numpy as np

from ncnn.c_api import API

# The letter of a type of elements, as upstream's package has it, by elements' size in bytes.
TYPES = {4: "f", 2: "e", 1: "b"}
AXES_OF_A_CHANNEL, MOST_AXES = 2, 4


class Mat:
    """One array of the library's, of one sample.

    Args:
        array: copied; an axis each of 1 to 4: (w), (h, w), (c, h, w) or (c, d, h, w), of elements
            of 1, 2 or 4 bytes.
        handle: one of the library's own instead, which is this object's from now on.

    Raises:
        ValueError: it has other axes or elements, or none.
        MemoryError: there is no memory for it.
    """

    def __init__(self, array: np.ndarray | None = None, *, handle: int | None = None) -> None:
        self.handle = _copied(array) if array is not None else handle
        self._released = weakref.finalize(self, API.mat_destroy, self.handle)

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of its axes, as numpy has them; none where it is empty."""
        w, h, d, c = (getattr(API, f"mat_get_{axis}")(self.handle) for axis in "whdc")
        return ((), (w,), (h, w), (c, h, w), (c, d, h, w))[API.mat_get_dims(self.handle)]

    def numpy(self, format: str = "") -> np.ndarray:  # noqa: A002 - as users know it
        """Its elements: a view of its memory, which it keeps.

        Args:
            format: numpy's letter of their type; where it is empty, floats or 8-bit integers by
                their size, as the library says no more of them.

        Raises:
            ValueError: it is empty, its elements lie in groups, or are of another size.
        """
        shape, size = self.shape, API.mat_get_elemsize(self.handle)
        if not shape or API.mat_get_elempack(self.handle) != 1:
            raise ValueError("an array that is empty, or in groups of channels, is not numpy's")
        dtype = np.dtype(format or TYPES[size])
        if dtype.itemsize != size:
            raise ValueError(f"its elements have {size} bytes, those of {dtype} have not")
        memory = _memory(self.handle, shape)
        memory.of = self  # type: ignore[attr-defined] # it lives as long as the view
        return np.ndarray(
            shape, dtype, buffer=memoryview(memory), strides=_strides(self.handle, shape)
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """A view, or a copy of other elements or where one is asked for."""
        array = self.numpy()
        wanted = array.dtype if dtype is None else np.dtype(dtype)
        return array.astype(wanted, copy=bool(copy) or wanted != array.dtype)


def _copied(array: np.ndarray) -> int:
    """A new array of the library's with the values of numpy's."""
    given = np.asarray(array, order="C")
    if not 1 <= given.ndim <= MOST_AXES or not given.size:
        raise ValueError(f"an array of shape {given.shape} can't be a Mat")
    if given.dtype.itemsize not in TYPES or given.dtype.kind not in "fiub":
        raise ValueError(f"an array of {given.dtype} can't be a Mat")
    create = getattr(API, f"mat_create_{given.ndim}d_elem")
    handle: int = create(*reversed(given.shape), given.dtype.itemsize, 1, None)
    if not API.mat_get_data(handle):
        API.mat_destroy(handle)
        raise MemoryError(f"no memory for an array of shape {given.shape}")
    strides = _strides(handle, given.shape)
    memory = _memory(handle, given.shape)
    np.ndarray(given.shape, given.dtype, buffer=memoryview(memory), strides=strides)[...] = given
    return handle


def _strides(handle: int | None, shape: tuple[int, ...]) -> list[int]:
    """How many bytes are from one element of each axis to the next."""
    size: int = API.mat_get_elemsize(handle)
    strides = [size * math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    if len(shape) > AXES_OF_A_CHANNEL:
        strides[0] = size * API.mat_get_cstep(handle)
    return strides


def _memory(handle: int | None, shape: tuple[int, ...]) -> ctypes.Array[ctypes.c_char]:
    """The memory of all elements."""
    count = _strides(handle, shape)[0] * shape[0]
    return (ctypes.c_char * count).from_address(API.mat_get_data(handle))
