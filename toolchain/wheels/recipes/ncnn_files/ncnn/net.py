"""Networks: read from .param and .bin, and run."""

from __future__ import annotations

import ctypes
import os
import weakref
from ctypes import byref, c_void_p
from io import RawIOBase
from typing import BinaryIO

from ncnn.c_api import API, OPTIONS, READ
from ncnn.mat import Mat

OK, FAILED = 0, -1


def layer_to_index(kind: str) -> int:
    """The number of a kind of layer, such as Convolution; -1 where the library has none."""
    return int(API.layer_type_to_index(kind.encode()))


class Option:
    """How a network is run: set before it is read. `c_api.OPTIONS` has them, by ncnn's names.

    `num_threads` is the number of threads of a layer; fp16, bf16 and int8 say which elements may
    stand for float32 where the CPU has instructions for them (`_storage`), and be computed with
    (`_arithmetic`): fp16 is, unless it is turned off.
    """

    __slots__ = ("_of",)
    _of: Net

    def __init__(self, of: Net) -> None:
        object.__setattr__(self, "_of", of)

    def __getattr__(self, name: str) -> int | bool:
        if name not in OPTIONS:
            raise AttributeError(f"there is no option {name}")
        value = getattr(API, f"option_get_{name}")(API.net_get_option(self._of.handle))
        return int(value) if OPTIONS[name] else bool(value)

    def __setattr__(self, name: str, value: int | bool) -> None:
        if name not in OPTIONS:
            raise AttributeError(f"there is no option {name}")
        getattr(API, f"option_set_{name}")(API.net_get_option(self._of.handle), int(value))


class Net:
    """A network. What reads it returns 0, or another number and says why on stderr."""

    def __init__(self) -> None:
        self.handle = API.net_create()
        self._released = weakref.finalize(self, API.net_destroy, self.handle)

    @property
    def opt(self) -> Option:
        """Its options."""
        return Option(self)

    def load_param(self, path: str | os.PathLike[str]) -> int:
        """Read the graph from a .param file."""
        return int(API.net_load_param(self.handle, os.fsencode(path)))

    def load_param_mem(self, text: str) -> int:
        """Read the graph from the text of a .param file."""
        return int(API.net_load_param_memory(self.handle, text.encode()))

    def load_model(self, source: str | os.PathLike[str] | BinaryIO | RawIOBase) -> int:
        """Read the weights from a .bin file or a stream of one; the graph must be there.

        Raises:
            Exception: what the stream raises.
        """
        if isinstance(source, str | os.PathLike):
            return int(API.net_load_model(self.handle, os.fsencode(source)))
        raised: list[BaseException] = []

        def read(_reader: int | None, place: int | None, size: int) -> int:
            try:
                return _fill(source, place or 0, size)
            except BaseException as error:  # noqa: BLE001 - nothing passes through the library
                raised.append(error)
                return 0

        callback = READ(read)
        reader = API.datareader_create()
        try:
            reader.contents.read = callback
            result = int(API.net_load_model_datareader(self.handle, reader))
        finally:
            API.datareader_destroy(reader)
        if raised:
            raise raised[0]
        return result

    def clear(self) -> None:
        """Forget the graph and the weights."""
        API.net_clear(self.handle)

    def input_names(self) -> list[str]:
        """What its inputs are called."""
        count = API.net_get_input_count(self.handle)
        return [API.net_get_input_name(self.handle, n).decode() for n in range(count)]

    def output_names(self) -> list[str]:
        """What its outputs are called."""
        count = API.net_get_output_count(self.handle)
        return [API.net_get_output_name(self.handle, n).decode() for n in range(count)]

    def create_extractor(self) -> Extractor:
        """What one inference is run by."""
        return Extractor(self)


class Extractor:
    """One inference of a network: given its inputs, it computes what is asked of it, once."""

    def __init__(self, net: Net) -> None:
        self._net = net  # which must outlive it
        self._handle = API.extractor_create(net.handle)
        self._released = weakref.finalize(self, API.extractor_destroy, self._handle)

    def input(self, name: str, mat: Mat) -> int:
        """Give it an input; 0, or another number where there is none of that name."""
        return int(API.extractor_input(self._handle, name.encode(), mat.handle))

    def extract(self, name: str) -> tuple[int, Mat]:
        """Compute a blob: 0 and what it is in float32, or another number and an empty one."""
        made = c_void_p()
        result = int(API.extractor_extract(self._handle, name.encode(), byref(made)))
        return result, Mat(handle=made.value)


def _fill(source: BinaryIO | RawIOBase, place: int, size: int) -> int:
    """Read so many bytes of a stream to a place in memory; return how many there were."""
    memory = memoryview((ctypes.c_char * size).from_address(place)).cast("B")
    done = 0
    while done < size:
        # not into the library's memory at once: a stream may keep what it is given
        piece = source.read(min(size - done, 1 << 20))
        if not piece:
            break
        memory[done : done + len(piece)] = piece
        done += len(piece)
    return done
