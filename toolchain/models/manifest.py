"""model.json: what one folder of dist/models holds, and how well each conversion agrees.

Convert writes it, compile adds libraries to it; bundle, runner and report read it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from toolchain.core import store
from toolchain.core.errors import ModelError, UsageError
from toolchain.formats.signature import Tensor
from toolchain.formats.state import State
from toolchain.models import variants
from toolchain.models.checks import Check
from toolchain.models.metadata import Metadata
from toolchain.models.variants import PLAIN

FILE = "model.json"
# What model.json calls the forms of a variant in `missing`, the first two as stages of checks too:
# its TFLite file, its ONNX graph, and what TVM compiles of either.
TFLITE, GRAPH, LIBRARY = "tflite", "onnx", "tvm"
VARIANT_FILE = "variant.json"  # of one variant, before it is put beside the plain form
_ONE_TENSOR = ("input", "output", "tvm_input")  # keys of schema 1
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# What a manifest says is written by what has read a model, and may say what the model wants.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$")]


def _inside(path: str) -> str:
    """A relative path that leads nowhere else than below its folder."""
    if not path.isprintable() or any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError("the path of a file leads out of the model's folder")
    return path


F = TypeVar("F")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Part):
    """Where the model came from.

    Attributes:
        kind: of its file, as `formats` names it; keras for the catalogue's.
        weights: "seeded:N", "trained:SHA256", "published:SHA256" or "file:SHA256".
    """

    kind: str
    weights: str


class File(_Part):
    """A file of the folder, by relative path."""

    file: Annotated[str, AfterValidator(_inside)]
    sha256: Sha256
    size: int


class Ordered(File):
    """A file whose inputs and outputs may stand in another order than the manifest's.

    Attributes:
        inputs: the manifest's names, in the order that the file has them; None where it is the
            manifest's own.
        outputs: the same of its outputs.
    """

    inputs: list[str] | None = Field(default=None, exclude_if=lambda order: order is None)
    outputs: list[str] | None = Field(default=None, exclude_if=lambda order: order is None)


class Tflite(Ordered):
    """A TFLite file; `compressed` is its size in zlib's best form, where zeros cost nothing."""

    compressed: int | None = None


class RuntimeArtifact(Ordered):
    """A file that one runtime executes.

    Attributes:
        variant: of the network.
        opt_level: of a runtime that has such levels.
        target: the one target that it was made for; None when it serves all of them.
        check: how far off it is on this machine, where it was made here; not in bundles.
    """

    variant: str = PLAIN
    opt_level: Annotated[int, Field(ge=0)] | None = None
    target: str | None = None
    check: Check | None = Field(default=None, exclude_if=lambda check: check is None)

    def plain(self) -> File:
        """The file alone."""
        return File(file=self.file, sha256=self.sha256, size=self.size)


class Samples(File):
    """samples.npz: what the network is checked with, and what its source gives for that here.

    `in:NAME` and `out:NAME` hold an array for each input and output, (inferences, *its shape), and
    `labels` the classes of all samples where they are real. Files of schema 1 hold `x` and
    `reference`, (samples, ...).

    Attributes:
        count: samples in all inferences.
        labelled: whether there are labels.
        origins: what each input was given, in words.
    """

    count: int
    labelled: bool
    origins: dict[str, str] = Field(default_factory=dict, exclude_if=lambda origins: not origins)


class Library(File):
    """A TVM library.

    Attributes:
        opt_level: what our pipeline did.
        variant: of the network, as `variants` names them.
        tvm: version of TVM that compiled it; only the runtime of the same version runs it.
        tuned: how many of its functions have tiles that tuning found.
        kernels: what TensorFlow Lite's reference kernels gave, where it has their arithmetic.
    """

    opt_level: Annotated[int, Field(ge=0, le=3)]
    variant: str = PLAIN
    tvm: str = "unknown"
    tuned: Annotated[int, Field(ge=0)] = 0
    kernels: File | None = Field(default=None, exclude_if=lambda kernels: kernels is None)


class VariantPart(_Part):
    """What making one variant adds to a manifest; also a file of its own, variant.json."""

    tflite: Tflite | None = None
    reference: File
    graph: File | None = None
    checks: list[Check]
    missing: dict[str, str] = Field(default_factory=dict)


class ModelManifest(_Part):
    """model.json, schema 2.

    `inputs` and `outputs` are in the order that TVM's libraries have them. `onnx` and `samples` are
    of the network as it was trained; `graphs` and `references` hold the ONNX graph of each other
    variant and what its TFLite form gave here (`out:NAME` as in the samples; .npy in schema 1).
    `state` says which inputs are given outputs of the inference before, and for how many steps;
    `in:NAME` of such an input holds what the source was given at each.
    `metadata` and the file `labels` (a name a line) say what inputs and outputs mean.
    `artifacts` holds by a runtime's name what it executes; that of the first two runtimes stands in
    `tflite` and `libraries`, as it always has. `missing` says of each form that was not made why.
    """

    schema_version: Literal[2] = Field(default=2, alias="schema")
    model: Name
    title: str
    batch: Annotated[int, Field(ge=1)]
    source: Source
    inputs: Annotated[list[Tensor], Field(min_length=1)]
    outputs: Annotated[list[Tensor], Field(min_length=1)]
    state: State | None = Field(default=None, exclude_if=lambda state: state is None)
    metadata: Metadata | None = Field(default=None, exclude_if=lambda said: said is None)
    labels: File | None = Field(default=None, exclude_if=lambda labels: labels is None)
    tflite: dict[Name, Tflite] = Field(default_factory=dict)
    onnx: File | None = None
    graphs: dict[Name, File] = Field(default_factory=dict)
    references: dict[Name, File] = Field(default_factory=dict)
    samples: Samples
    libraries: dict[str, dict[str, Library]] = Field(default_factory=dict)
    # left out while empty: a file without it has the bytes that it had before there was this key
    artifacts: dict[str, list[RuntimeArtifact]] = Field(
        default_factory=dict, exclude_if=lambda artifacts: not artifacts
    )
    checks: list[Check]
    missing: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _of_schema_1(cls, fields: Any) -> Any:
        """Schema 1 had one input and one output, and said the input twice."""
        if not isinstance(fields, dict) or fields.get("schema") != 1:
            return fields
        kept = {key: value for key, value in fields.items() if key not in _ONE_TENSOR}
        tensors = {"inputs": [fields.get("input")], "outputs": [fields.get("output")]}
        return {**kept, **tensors, "schema": 2}

    @classmethod
    def load(cls, folder: Path) -> ModelManifest:
        """The manifest of a folder.

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
        """The manifest as the JSON text that is written."""
        return self.model_dump_json(by_alias=True, exclude_none=True, indent=1) + "\n"

    def save(self, folder: Path) -> None:
        """Write the manifest: last, by temporary name and rename."""
        store.write_atomically(folder / FILE, self.dump().encode())

    def with_library(self, target: str, library: Library, check: Check) -> ModelManifest:
        """The manifest with one more library and its check, in the place of an older one."""
        libraries = {name: dict(levels) for name, levels in self.libraries.items()}
        name = variants.library(library.variant, library.opt_level)
        libraries.setdefault(target, {})[name] = library
        ordered = {name: dict(sorted(of.items())) for name, of in sorted(libraries.items())}
        return self.with_missing(missing_key(LIBRARY, library.variant), "").model_copy(
            update={"libraries": ordered, "checks": self._checks_with([check])}
        )

    def with_artifact(self, runtime: str, artifact: RuntimeArtifact) -> ModelManifest:
        """The manifest with one more artifact of a runtime, in the place of its older one."""

        def identity(one: RuntimeArtifact) -> tuple[str, str, int]:
            return one.target or "", one.variant, -1 if one.opt_level is None else one.opt_level

        by = {identity(one): one for one in (*self.artifacts.get(runtime, []), artifact)}
        artifacts = {**self.artifacts, runtime: [by[key] for key in sorted(by)]}
        return self.model_copy(update={"artifacts": dict(sorted(artifacts.items()))})

    def with_missing(self, key: str, why: str) -> ModelManifest:
        """The manifest with why something was not made; an empty reason takes an older one away."""
        missing = {other: of for other, of in sorted({**self.missing, key: why}.items()) if of}
        return self.model_copy(update={"missing": missing})

    @property
    def onnx_graphs(self) -> dict[str, File]:
        """The ONNX graph of each variant that has one."""
        return ({} if self.onnx is None else {PLAIN: self.onnx}) | self.graphs

    def graph(self, variant: str) -> File:
        """The ONNX graph of a variant.

        Raises:
            UsageError: it was not made.
        """
        graph = self.onnx_graphs.get(variant)
        if graph is None:
            why = [reason for key, reason in self.missing.items() if _is_of(variant, key)]
            again = f"run: invoke convert --model {self.model} --variant {variant}"
            raise UsageError(
                f"{self.model}, batch {self.batch}: there is no ONNX graph of variant {variant}",
                detail="\n".join(why),
                resolution="deploy it for the runtimes that take its other forms" if why else again,
            )
        return graph

    def with_variant(self, variant: str, part: VariantPart) -> ModelManifest:
        """The manifest with a variant's files, in the place of its older ones.

        Libraries of the variant, and artifacts of other runtimes, go when they are of another graph
        or TFLite file: they may be made of either.
        """
        kept = {key: why for key, why in self.missing.items() if not _is_of(variant, key)}
        same = part.graph == self.graphs.get(variant) and part.tflite == self.tflite.get(variant)
        libraries = {
            target: {n: lib for n, lib in levels.items() if same or lib.variant != variant}
            for target, levels in self.libraries.items()
        }
        return self.model_copy(
            update={
                "tflite": _with(self.tflite, variant, part.tflite),
                "graphs": _with(self.graphs, variant, part.graph),
                "references": _with(self.references, variant, part.reference),
                "checks": self._checks_with(part.checks),
                "missing": dict(sorted({**kept, **part.missing}.items())),
                "libraries": {target: levels for target, levels in libraries.items() if levels},
                "artifacts": self._artifacts(lambda a: same or a.variant != variant),
            }
        )

    def plain(self) -> ModelManifest:
        """The manifest as conversion made it: without other variants and what came later."""
        return self.model_copy(
            update={
                "tflite": {n: f for n, f in self.tflite.items() if n == PLAIN},
                "graphs": {},
                "references": {},
                "libraries": {},
                "checks": [c for c in self.checks if c.opt_level is None and c.variant == PLAIN],
                "artifacts": {},
                "missing": {k: why for k, why in self.missing.items() if k in (TFLITE, GRAPH)},
            }
        )

    def for_device(self, target: str) -> ModelManifest:
        """The manifest that goes into a bundle: the same whatever else was compiled here.

        Args:
            target: the device's; libraries of others are left out, and checks of libraries.
        """
        kept = self._artifacts(lambda a: a.target in (None, target))
        sent = {n: [a.model_copy(update={"check": None}) for a in of] for n, of in kept.items()}
        return self.model_copy(
            update={
                "libraries": {n: of for n, of in self.libraries.items() if n == target},
                "artifacts": sent,
                "checks": [c for c in self.checks if c.opt_level is None],
            }
        )

    def files(self) -> dict[str, str]:
        """Every file that the manifest names and its sha256."""
        libraries = [library for levels in self.libraries.values() for library in levels.values()]
        parts: list[File] = [
            *([] if self.onnx is None else [self.onnx]),
            *([] if self.labels is None else [self.labels]),
            self.samples,
            *self.tflite.values(),
            *self.graphs.values(),
            *self.references.values(),
            *libraries,
            *(library.kernels for library in libraries if library.kernels is not None),
            *(artifact for of in self.artifacts.values() for artifact in of),
        ]
        return {part.file: part.sha256 for part in parts}

    def every_check(self) -> list[Check]:
        """Of what conversion and compilation made, then of the artifacts that were made here."""
        made = [a.check for of in self.artifacts.values() for a in of if a.check is not None]
        return [*self.checks, *made]

    def _artifacts(
        self, keep: Callable[[RuntimeArtifact], bool]
    ) -> dict[str, list[RuntimeArtifact]]:
        kept = {name: [a for a in of if keep(a)] for name, of in self.artifacts.items()}
        return {name: of for name, of in kept.items() if of}

    def _checks_with(self, new: list[Check]) -> list[Check]:
        replaced = {(c.stage, c.opt_level, c.variant) for c in new}
        kept = [c for c in self.checks if (c.stage, c.opt_level, c.variant) not in replaced]
        return sorted([*kept, *new], key=lambda c: (c.variant, c.stage, c.opt_level or 0))


def in_order(tensors: Sequence[Tensor], names: Sequence[str] | None) -> list[Tensor]:
    """Tensors in the order of their names; in their own where there is no other.

    Raises:
        KeyError: there is none of such a name.
    """
    by = {tensor.name: tensor for tensor in tensors}
    return list(tensors) if names is None else [by[name] for name in names]


def missing_key(form: str, variant: str = PLAIN) -> str:
    """The key in `missing`: TFLITE, GRAPH, LIBRARY or a runtime's name, then a variant's name."""
    return form if variant == PLAIN else f"{form} {variant}"


def _is_of(variant: str, key: str) -> bool:
    return key.partition(" ")[2] == ("" if variant == PLAIN else variant)


def _with(files: dict[str, F], name: str, file: F | None) -> dict[str, F]:
    others = {n: f for n, f in files.items() if n != name}
    return dict(sorted({**others, **({} if file is None else {name: file})}.items()))


def record(folder: Path, name: str) -> File:
    """A file of a folder as the manifest names it."""
    path = folder / name
    return File(file=name, sha256=store.digest_file(path), size=path.stat().st_size)


def record_tflite(
    folder: Path, name: str, inputs: list[str] | None = None, outputs: list[str] | None = None
) -> Tflite:
    """A TFLite file of a folder as the manifest names it; its orders are those of `Ordered`."""
    compressed = len(zlib.compress((folder / name).read_bytes(), 9))
    return Tflite(
        **record(folder, name).model_dump(), compressed=compressed, inputs=inputs, outputs=outputs
    )
