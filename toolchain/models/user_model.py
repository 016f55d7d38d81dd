"""What a user says of a model file of theirs, in a small TOML file of its name beside it.

`net.toml` beside `net.keras`, `net.onnx` or the folder `net`. Every key may be left out:

    title = "My network"
    task = "classification"      # or segmentation, detection, recognition, regression
    labels = "classes.txt"       # a name a line
    runtime = "tvm"              # what it runs under on a device when nothing else is asked for
    threads = 2                  # and on how many threads
    samples = "samples.npz"      # an array for each input, by its name; labels: their classes
    calibration = "some.npz"     # the same: what int8's ranges are measured on
    training = "more.npz"        # x and labels: what qat, pruned and clustered are trained with

    [shape]                      # of inputs whose sizes are open
    images = "1x3x640x640"

    [constants]                  # inputs of an .onnx file that are held at a value
    sr = 16000

    [state]                      # inputs that are outputs of the inference before
    h = "hn"

    [preprocessing]              # as in toolchain/models/catalogue.toml
    channels = "RGB"

    [detection]                  # of a detector: docs/how-to/accuracy.md
    head = "yolo"

Paths are relative to the file. The arrays are read by `samples.user_arrays`.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    field_validator,
)

from toolchain.core import store
from toolchain.core.errors import ModelError, UsageError
from toolchain.models.detection import Detection
from toolchain.models.metadata import Task
from toolchain.models.preprocessing import Preprocessing


class OwnEntry(BaseModel):
    """The keys of the file; paths are absolute once it is read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str | None = None
    labels: Path | None = None
    samples: Path | None = None
    calibration: Path | None = None
    training: Path | None = None
    # left out while empty, as it always was from what a model is known by
    shape: dict[str, tuple[PositiveInt, ...]] = Field(
        default_factory=dict, exclude_if=lambda shapes: not shapes
    )
    # a number, a truth value or nested lists for each input that is none any more
    constants: dict[str, Any] = Field(default_factory=dict, exclude_if=lambda held: not held)
    # the output of each input that has a state; empty where it is said that there is none
    state: dict[str, str] | None = Field(default=None, exclude_if=lambda said: said is None)
    preprocessing: Preprocessing | None = None
    detection: Detection | None = Field(default=None, exclude_if=lambda said: said is None)
    task: Task | None = Field(default=None, exclude_if=lambda said: said is None)
    runtime: str | None = Field(default=None, exclude_if=lambda said: said is None)
    threads: PositiveInt | None = Field(default=None, exclude_if=lambda said: said is None)

    @field_validator("shape", mode="before")
    @classmethod
    def _sizes(cls, said: Any) -> Any:
        """Sizes are a list, or a text such as 1x3x640x640."""
        if not isinstance(said, dict):
            return said
        return {
            name: sizes.split("x") if isinstance(sizes, str) else sizes
            for name, sizes in said.items()
        }

    def files(self) -> dict[str, Path]:
        """The files that it names, by key."""
        named = {
            "labels": self.labels,
            "samples": self.samples,
            "calibration": self.calibration,
            "training": self.training,
        }
        return {key: path for key, path in named.items() if path is not None}

    def identity(self) -> dict[str, object]:
        """All that it says, with files by their content."""
        said = self.model_dump(mode="json", exclude=set(self.files()))
        return {**said, **{key: store.digest_file(path) for key, path in self.files().items()}}


def beside(model: Path) -> OwnEntry | None:
    """The entry of a model file or SavedModel folder; None when there is none.

    Raises:
        ModelError: the file beside it can't be used; the error names the key.
        UsageError: it names a file that isn't there.
    """
    path = model.with_name(f"{model.name}.toml") if model.is_dir() else model.with_suffix(".toml")
    if not path.is_file():
        return None
    try:
        entry = OwnEntry(**_read(path))
    except ValidationError as error:
        lines = [f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in error.errors()]
        raise ModelError(
            f"{path.name} can't be used",
            detail="\n".join(lines),
            resolution=f"known keys: {', '.join(OwnEntry.model_fields)}",
        ) from error
    found = {key: path.parent / given for key, given in entry.files().items()}
    for key, file in found.items():
        if not _is_file(file):
            raise UsageError(
                f"{path.name}: {key} names {file.name}, which isn't there",
                detail=str(file),
                resolution=f"put it there (docs/how-to/your-model.md says what is in it), or leave "
                f"{key} out of {path.name}",
            )
    return entry.model_copy(update=found)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    # beside its own errors: a number of thousands of digits, and lists in lists without end
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{path.name} can't be read as TOML",
            detail=str(error),
            resolution='a line a key, text in quotes: labels = "classes.txt"',
        ) from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no disk takes
        return False
