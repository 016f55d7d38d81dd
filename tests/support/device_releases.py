"""A release folder as the library on a device meets it, with a runtime that is plain numpy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
Json = dict[str, Any]


class NumpyBackend:
    """A runtime whose network is a function of arrays by name."""

    def __init__(self, function: Callable[[Arrays], Arrays]) -> None:
        self._function = function
        self.loaded = ""

    def load(self, path: str) -> None:
        """Remember the file."""
        if not Path(path).is_file():
            raise FileNotFoundError(path)
        self.loaded = path

    def bind(self, signature: Json) -> None:
        """Nothing to bind: names are names."""

    def set_inputs(self, arrays: Arrays) -> None:
        """Keep them."""
        self.given = {name: array.copy() for name, array in arrays.items()}

    def run(self) -> None:
        """One inference."""
        self._made = self._function(self.given)

    def outputs(self) -> Arrays:
        """What it gave."""
        return {name: array.copy() for name, array in self._made.items()}


def tensor(name: str, *shape: int, dtype: str = "float32", **more: object) -> Json:
    """An input or output, as model.json has it."""
    return {"name": name, "shape": list(shape), "dtype": dtype, **more}


def release(
    folder: Path,
    inputs: list[Json],
    outputs: list[Json],
    *,
    labels: list[str] | None = None,
    forms: tuple[tuple[str, str, int | None], ...] = (("tflite", "fp32", None),),
    number: str = "c",
    code: str = "",
    **card: Any,
) -> Path:
    """A release with one model, `net`, whose files are empty.

    Args:
        folder: to make it in.
        inputs: of the network.
        outputs: of the network.
        labels: the names of its classes.
        forms: runtime, variant and opt level of what is executed.
        number: the digit that its id is made of.
        code: what its only wheel holds.
        card: more keys of model.json.
    """
    into = folder / "models/net/b1"
    into.mkdir(parents=True)
    if labels is not None:
        (into / "labels.txt").write_text("".join(f"{label}\n" for label in labels))
        card["labels"] = {"file": "labels.txt"}
    (into / "model.json").write_text(json.dumps({"inputs": inputs, "outputs": outputs, **card}))
    executables = []
    for place, (runtime, variant, opt_level) in enumerate(forms):
        (into / f"{place}.bin").touch()
        executables.append(
            {
                "runtime": runtime,
                "variant": variant,
                "opt_level": opt_level,
                "file": f"models/net/b1/{place}.bin",
                "inputs": [one["name"] for one in inputs],
                "outputs": [one["name"] for one in outputs],
            }
        )
    entry = {
        "model": "net",
        "batch": 1,
        "folder": "models/net/b1",
        "card": "models/net/b1/model.json",
        "executables": executables,
    }
    (folder / "wheels").mkdir()
    (folder / "wheels/code.whl").write_text(code)
    files = [
        {
            "path": path.relative_to(folder).as_posix(),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "size": path.stat().st_size,
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    manifest = {
        "release": number * 64,
        "target": "rv64gc",
        "runner": "runner",
        "wheels": ["wheels/code.whl"],
        "files": files,
        "models": [entry],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
