"""Programs and their methods: `Runtime.get().load_program("net.pte").load_method("forward")`."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from executorch.c_api import LIBRARY, Described, checked, description, dtype, shape


class TensorInfo:
    """What a program says of an input or an output.

    Args:
        described: as the library describes it.
    """

    def __init__(self, described: Described) -> None:
        self._described = described

    def sizes(self) -> tuple[int, ...]:
        """Its sizes, elements; of open ones the largest."""
        sizes: tuple[int, ...] = shape(self._described)
        return sizes

    def dtype(self) -> np.dtype[Any]:
        """The type of its elements.

        Raises:
            TypeError: numpy has none such.
        """
        found: np.dtype[Any] = dtype(self._described)
        return found


class MethodMeta:
    """What a program says of a method.

    Args:
        method: whose it is.
    """

    def __init__(self, method: Method) -> None:
        self._method = method

    def name(self) -> str:
        """The method's."""
        return self._method.name

    def num_inputs(self) -> int:
        """How many inputs it has."""
        return int(LIBRARY.executorch_inputs(self._method.handle))

    def num_outputs(self) -> int:
        """How many outputs it has."""
        return int(LIBRARY.executorch_outputs(self._method.handle))

    def input_tensor_meta(self, index: int) -> TensorInfo:
        """What an input is.

        Raises:
            RuntimeError: it is no tensor, or there is none.
        """
        return self._described(False, index)

    def output_tensor_meta(self, index: int) -> TensorInfo:
        """What an output is.

        Raises:
            RuntimeError: it is no tensor, or there is none.
        """
        return self._described(True, index)

    def _described(self, output: bool, index: int) -> TensorInfo:
        found = Described()
        checked(LIBRARY.executorch_describe(self._method.handle, output, index, found))
        return TensorInfo(found)


class Method:
    """A method that is ready to run. Not for several threads at once.

    Args:
        path: the program's file.
        name: the method's.

    Raises:
        RuntimeError: there is no such file, program or method, or a kernel that it needs.
    """

    def __init__(self, path: str, name: str) -> None:
        self.name = name
        self.handle = ctypes.c_void_p()
        checked(LIBRARY.executorch_open(path.encode(), name.encode(), ctypes.byref(self.handle)))
        self._given: dict[int, np.ndarray] = {}  # the library may read them as they are

    def __del__(self) -> None:
        """Give its memory back."""
        if getattr(self, "handle", None):
            LIBRARY.executorch_close(self.handle)

    @property
    def metadata(self) -> MethodMeta:
        """What the program says of it."""
        return MethodMeta(self)

    def set_input(self, index: int, array: np.ndarray) -> None:
        """Give the next inferences an input.

        Raises:
            RuntimeError: its type or sizes are not the program's.
            TypeError: ExecuTorch has no such type.
        """
        held = np.ascontiguousarray(array).reshape(array.shape)
        checked(
            LIBRARY.executorch_set_input(self.handle, index, description(held), held.ctypes.data)
        )
        self._given[index] = held

    def run(self) -> None:
        """One inference.

        Raises:
            RuntimeError: it failed.
        """
        checked(LIBRARY.executorch_run(self.handle))

    def output(self, index: int) -> np.ndarray:
        """A copy of an output of the last inference.

        Raises:
            RuntimeError: it is no tensor, or there is none.
        """
        found, data, size = Described(), ctypes.c_void_p(), ctypes.c_size_t()
        checked(LIBRARY.executorch_output(self.handle, index, found, data, size))
        kind = dtype(found)
        content = ctypes.string_at(data, size.value) if size.value else b""
        return np.frombuffer(bytearray(content), kind).reshape(shape(found))

    def execute(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """One inference of some inputs.

        Args:
            inputs: all of them, in the program's order.

        Raises:
            ValueError: there are more or fewer.
            RuntimeError: one doesn't fit, or the inference failed.
        """
        wanted = self.metadata.num_inputs()
        if len(inputs) != wanted:
            raise ValueError(f"{self.name} has {wanted} inputs, {len(inputs)} were given")
        for index, array in enumerate(inputs):
            self.set_input(index, array)
        self.run()
        return [self.output(index) for index in range(self.metadata.num_outputs())]


class Program:
    """A program in a file.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def load_method(self, name: str) -> Method:
        """Make one of its methods ready.

        Raises:
            RuntimeError: there is no such file, program or method, or a kernel that it needs.
        """
        return Method(str(self._path), name)


class Runtime:
    """The runtime of this process."""

    @staticmethod
    def get() -> Runtime:
        """It."""
        return Runtime()

    def set_threads(self, threads: int) -> None:
        """Have the methods that are loaded from now on run on so many threads.

        Raises:
            RuntimeError: there can't be so many, or methods are loaded on another number.
        """
        checked(LIBRARY.executorch_set_threads(threads))

    def load_program(self, path: str | Path) -> Program:
        """A program; it is read when a method of it is loaded."""
        return Program(Path(path))
