"""model.json: what one folder of dist/models holds, and how well each conversion agrees.

Convert writes it, compile adds libraries to it; bundle, runner and report read it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toolchain import store
from toolchain.errors import ModelError

FILE = "model.json"
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Part):
    """Where the model came from; weights are "seeded:N", "trained:SHA256" or "file:SHA256"."""

    kind: Literal["keras", "savedmodel", "onnx", "tflite"]
    weights: str


class Tensor(_Part):
    """An input or output with its fixed shape, batch first."""

    name: str
    shape: tuple[int, ...]
    dtype: Literal["float32"] = "float32"


class File(_Part):
    """A file of the folder, by relative path."""

    file: str
    sha256: Sha256
    size: int


class Samples(File):
    """samples.npz: x, reference (the source model's output here) and, when real, labels."""

    count: int
    labelled: bool


class Library(File):
    """A TVM library.

    Attributes:
        opt_level: what our pipeline did.
        tvm: version of TVM that compiled it; only the runtime of the same version runs it. Cards of
            before this was recorded have none.
    """

    opt_level: Annotated[int, Field(ge=0, le=3)]
    tvm: str = "unknown"


class Check(_Part):
    """A conversion against its source, on the samples.

    Attributes:
        stage: "tflite", "onnx", or "tvm-x86" (compiled for this machine with the same passes).
        max_abs: largest absolute difference.
        max_rel: largest difference over the largest magnitude in the same sample's reference.
        top1_agreement: share of samples whose largest output is the same.
        count: samples.
        opt_level: TVM only.
    """

    stage: str
    max_abs: float
    max_rel: float
    top1_agreement: float
    count: int
    opt_level: int | None = None


class ModelCard(_Part):
    """model.json, schema 1.

    `missing` says of each form that was not made why.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    model: str
    title: str
    batch: Annotated[int, Field(ge=1)]
    source: Source
    input: Tensor
    output: Tensor
    tvm_input: Tensor
    tflite: dict[str, File] = Field(default_factory=dict)
    onnx: File
    samples: Samples
    libraries: dict[str, dict[str, Library]] = Field(default_factory=dict)
    checks: list[Check]
    missing: dict[str, str] = Field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> ModelCard:
        """The card of a folder.

        Raises:
            ModelError: there is none, or it can't be used.
        """
        path = folder / FILE
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError as error:
            raise ModelError(
                f"no converted model in {folder}", resolution="run `invoke convert` first"
            ) from error
        except ValidationError as error:
            raise ModelError(
                f"{path} can't be used",
                detail=str(error),
                resolution=f"remove {folder} and run `invoke convert` again",
            ) from error

    def dump(self) -> str:
        """The card as the JSON text that is written."""
        return self.model_dump_json(by_alias=True, exclude_none=True, indent=1) + "\n"

    def save(self, folder: Path) -> None:
        """Write the card: last, by temporary name and rename."""
        store.write_atomically(folder / FILE, self.dump().encode())

    def with_library(self, target: str, library: Library, check: Check) -> ModelCard:
        """The card with one more library and its check, in the place of an older one."""
        libraries = {name: dict(levels) for name, levels in self.libraries.items()}
        libraries.setdefault(target, {})[f"O{library.opt_level}"] = library
        same = (check.stage, check.opt_level)
        checks = [c for c in self.checks if (c.stage, c.opt_level) != same]
        return self.model_copy(
            update={
                "libraries": {
                    name: dict(sorted(levels.items())) for name, levels in sorted(libraries.items())
                },
                "checks": sorted([*checks, check], key=lambda c: (c.stage, c.opt_level or 0)),
            }
        )


def record(folder: Path, name: str) -> File:
    """A file of a folder as the card names it."""
    path = folder / name
    return File(file=name, sha256=store.digest_file(path), size=path.stat().st_size)
