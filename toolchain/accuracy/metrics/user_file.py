"""A metric of the user's own: a Python file on this machine, which gets outputs and labels.

    def evaluate(outputs, labels):
        return {"name": number}

`outputs` has for each image a dict of arrays by the output's name, without the batch; `labels` what
stands behind the image's name in the list of labels. The file is code, and runs as the user.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toolchain.accuracy.metrics import Labelled, Metric, Network, refuse_unlabelled
from toolchain.core.errors import UsageError

FUNCTION = "evaluate"
HOW = f"define {FUNCTION}(outputs, labels) in it, which returns a dict of names and numbers"


class UserMetric(Metric):
    """What a file says.

    Args:
        path: the file.

    Raises:
        UsageError: there is no such file.
    """

    labels = "a list with a line an image: NAME, then anything that the metric understands"

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise UsageError(f"no such file: {path}", resolution="give the metric's Python file")
        self.path = path.resolve()
        self.name = str(self.path)

    def read(self, folder: Path, labels: Path) -> list[Labelled]:
        """The images of a list, each with the rest of its line."""
        try:
            lines = [line for line in labels.read_text("utf-8-sig").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"{labels} can't be read", detail=str(error), resolution=f"give {self.labels}"
            ) from error
        pairs = [line.strip().partition(" ")[::2] for line in lines]
        missing = [name for name, _ in pairs if not (folder / name).is_file()]
        if missing:
            raise UsageError(
                f"{len(missing)} of {len(pairs)} images of {labels.name} are not in {folder}",
                detail="\n".join(missing[:10]),
                resolution="give the folder that the list's names are relative to",
            )
        refuse_unlabelled(len(pairs), folder, labels)
        return [Labelled(path=folder / name, label=label.strip()) for name, label in pairs]

    def evaluate(
        self,
        outputs: Sequence[Mapping[str, npt.NDArray[np.generic]]],
        images: Sequence[Labelled],
        network: Network,
    ) -> dict[str, float]:
        """What the file's function makes of outputs and labels."""
        del network
        try:
            made = self._function()([*outputs], [image.label for image in images])
        except Exception as error:  # whatever the user's code raises
            raise UsageError(
                f"{self.path.name} failed", detail=f"{type(error).__name__}: {error}"
            ) from error
        if not isinstance(made, dict) or not made:
            raise UsageError(f"{self.path.name}: {FUNCTION} returned {made!r:.100}", resolution=HOW)
        numbers = {str(name): _number(value) for name, value in made.items()}
        wrong = [name for name, number in numbers.items() if number is None]
        if wrong:
            raise UsageError(
                f"{self.path.name}: {wrong[0]} is {made[wrong[0]]!r:.100}, no finite number",
                resolution=HOW,
            )
        return {name: number for name, number in numbers.items() if number is not None}

    def _function(self) -> Callable[..., Any]:
        spec = importlib.util.spec_from_file_location("metric", self.path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found: Callable[..., Any] = getattr(module, FUNCTION)
        return found


def _number(value: Any) -> float | None:
    """A finite number; None of anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
