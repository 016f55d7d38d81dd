"""Sets of inputs: what a network is given, inference by inference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from toolchain.formats.state import State

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Sets:
    """An array for each input, with an inference's values at each index of its first axis.

    Attributes:
        arrays: (inferences, *shape) by the input's name.
        labels: (samples,) classes of all samples, where these are real.
        origins: what each input was given, in words, by its name.
        state: which inputs are given outputs of the inference before, within sequences.
    """

    arrays: Mapping[str, Array]
    labels: npt.NDArray[np.int64] | None = None
    origins: Mapping[str, str] = field(default_factory=dict)
    state: State | None = None

    def __len__(self) -> int:
        """How many inferences there are."""
        return len(next(iter(self.arrays.values())))

    def __iter__(self) -> Iterator[dict[str, Array]]:
        """What each inference is given."""
        for number in range(len(self)):
            yield {name: np.asarray(array[number]) for name, array in self.arrays.items()}

    def run(self, infer: Callable[[dict[str, Array]], dict[str, Array]]) -> list[dict[str, Array]]:
        """What each inference gives, a state fed back from one to the next.

        Args:
            infer: one inference, arrays by name in and out.
        """
        made: list[dict[str, Array]] = []
        for number, given in enumerate(self):
            if self.state is not None and number % self.state.steps:
                for name, output in self.state.inputs.items():
                    given[name] = np.asarray(made[-1][output], given[name].dtype)
            made.append(infer(given))
        return made

    def fed(self, outputs: Mapping[str, Array]) -> Sets:
        """The same with what was fed back in the arrays of a state's inputs.

        Args:
            outputs: what `run` gave, (inferences, *shape) by name.
        """
        if self.state is None:
            return self
        later = np.arange(len(self)) % self.state.steps > 0
        arrays = dict(self.arrays)
        for name, output in self.state.inputs.items():
            array = np.array(arrays[name])
            array[later] = np.roll(outputs[output], 1, axis=0)[later]
            arrays[name] = array
        return replace(self, arrays=arrays)


def stacked(outputs: list[dict[str, Array]]) -> dict[str, Array]:
    """The outputs of all inferences, (inferences, *shape) by name.

    Raises:
        ValueError: one has another shape in one inference than in another.
    """
    return {name: np.stack([of[name] for of in outputs]) for name in outputs[0]}
