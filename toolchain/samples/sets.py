"""Sets of inputs: what a network is given, inference by inference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Sets:
    """An array for each input, with an inference's values at each index of its first axis.

    Attributes:
        arrays: (inferences, *shape) by the input's name.
        labels: (samples,) classes of all samples, where these are real.
        origins: what each input was given, in words, by its name.
    """

    arrays: Mapping[str, Array]
    labels: npt.NDArray[np.int64] | None = None
    origins: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many inferences there are."""
        return len(next(iter(self.arrays.values())))

    def __iter__(self) -> Iterator[dict[str, Array]]:
        """What each inference is given."""
        for number in range(len(self)):
            yield {name: np.asarray(array[number]) for name, array in self.arrays.items()}


def stacked(outputs: list[dict[str, Array]]) -> dict[str, Array]:
    """The outputs of all inferences, (inferences, *shape) by name.

    Raises:
        ValueError: one has another shape in one inference than in another.
    """
    return {name: np.stack([of[name] for of in outputs]) for name in outputs[0]}
