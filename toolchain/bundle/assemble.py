"""Artifacts + manifest, ready to be sent: wheels, models, the runner, what they ask of a device.

A bundle is a folder that is the same for the same content; its release id is the hash of its
manifest. Nothing here talks to a device.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from packaging.utils import parse_wheel_filename
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from toolchain import runtimes, targets
from toolchain.bundle import choice, placement, wheels
from toolchain.bundle.placement import MANIFEST
from toolchain.bundle.wheels import AS_BUILT, Wanted
from toolchain.core import paths, plugins, process
from toolchain.core.errors import BuildError, UsageError
from toolchain.core.field_types import Sha256
from toolchain.core.store import Store, digest_file, digest_of
from toolchain.models import manifest as model_manifest
from toolchain.models import place
from toolchain.models.manifest import ModelManifest
from toolchain.models.variants import PLAIN
from toolchain.targets import Target
from toolchain.wheels.recipe import PYTHON_SINCE

LIBRARY = "library"  # where programs in C and C++ find theirs
BACKENDS = "edgewright_runner/backends"  # where the runner finds the modules of runtimes


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Requires(_Frozen):
    """What the device must have.

    Attributes:
        machine: as `uname -m` says.
        python: lowest version that the wheels serve.
        glibc: lowest version with every symbol that the wheels and libraries ask for.
        glibcxx: the same for libstdc++, such as "3.4.30".
        cpu: extensions that the code uses.
        modules: Python modules that come from the device.
    """

    machine: str
    python: str
    glibc: str
    glibcxx: str
    cpu: list[str]
    modules: list[str]


class File(_Frozen):
    """One file of the payload, by its path below the bundle."""

    path: str
    sha256: Sha256
    size: int

    @model_validator(mode="before")
    @classmethod
    def _as_before(cls, fields: Any) -> Any:
        """Pass over a field of earlier releases, which said of every file that it is no program."""
        if isinstance(fields, dict) and fields.get("executable") is False:
            return {name: value for name, value in fields.items() if name != "executable"}
        return fields


class Executable(_Frozen):
    """A file of a model that one of the release's runtimes executes.

    Attributes:
        runtime: its name.
        variant: of the network.
        opt_level: of a runtime that has such levels.
        file: below the release's folder.
        inputs: the names of model.json, in the order that the file has them.
        outputs: the same of outputs.
    """

    runtime: str
    variant: str
    opt_level: int | None = None
    file: str
    inputs: list[str]
    outputs: list[str]


class BundledModel(_Frozen):
    """A model in the bundle; `card`, as releases have always named it, is its model.json.

    `executables` are all that a runtime there executes, the one that a program gets when it asks
    for none first. Releases of before they were listed have none.
    """

    model: str
    batch: int
    folder: str
    card: str
    executables: list[Executable] = Field(default_factory=list)


class Manifest(_Frozen):
    """What a release is made of; `release` is the hash of all the other fields."""

    schema_version: Literal[1] = 1
    release: Sha256
    target: str
    requires: Requires
    files: list[File]
    wheels: list[str]
    requirements: str
    models: list[BundledModel]
    runner: str

    def payload_size(self) -> int:
        """Bytes of all files together."""
        return sum(f.size for f in self.files)


def load(folder: Path) -> Manifest:
    """Read a bundle's manifest; check that its id is its content's, and that its parts fit.

    Raises:
        BuildError: it can't be used.
    """
    path = folder / MANIFEST
    try:
        text = json.loads(path.read_text())
        manifest = Manifest(**text)
    except (OSError, ValueError, TypeError, ValidationError) as error:
        raise BuildError(f"{path} can't be used", detail=str(error)) from error
    if release_id(text) != manifest.release:
        raise BuildError(f"{path}: its id is not the hash of its content")
    installed = {
        str(name): str(version)
        for name, version, *_ in (parse_wheel_filename(Path(w).name) for w in manifest.wheels)
    }
    models = [ModelManifest.load(folder / model.folder) for model in manifest.models]
    for runtime in runtimes.all_runtimes().values() if installed else ():  # no wheels, no Python
        runtime.check(installed, models, manifest.target)
    return manifest


def artifacts(folder: Path, manifest: Manifest) -> list[tuple[str, str]]:
    """Each runtime's name with each file of a bundle that it executes, by its path there."""
    target = targets.target(manifest.target)
    return [
        (runtime.name, f"{model.folder}/{artifact.file.file}")
        for model in manifest.models
        for runtime, artifact in runtimes.executed(
            ModelManifest.load(folder / model.folder), target
        )
    ]


def release_id(fields: dict[str, object]) -> str:
    """The release id of a manifest's fields: their hash without the id itself."""
    return digest_of({k: v for k, v in fields.items() if k != "release"})


@contextmanager
def to_send(
    target: Target,
    models: Sequence[ModelManifest],
    samples: int = 0,
    *,
    wanted: Wanted = AS_BUILT,
    library: bool = False,
) -> Iterator[Path]:
    """`make` for who sends it: the bundle as a folder that is there until the block ends.

    The one in dist/ takes another's place as soon as the same models are bundled otherwise, also in
    the middle of sending. Arguments and errors are those of `make`.
    """
    beside = paths.dist() / "bundles" / target.name
    beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=beside, prefix=f".{process.own_name()}-") as folder:
        own = Path(folder) / "bundle"
        make(target, models, own, samples, wanted=wanted, library=library)
        yield own


def make(
    target: Target,
    models: Sequence[ModelManifest],
    own: Path | None = None,
    samples: int = 0,
    *,
    wanted: Wanted = AS_BUILT,
    library: bool = False,
) -> Path:
    """Gather a bundle into dist/bundles/<target>/<models>/, the folder that is returned.

    Args:
        target: the device's target.
        models: the manifests of those to send, from `compiled_models.chosen`.
        own: where the caller wants one too, beside it on the disk.
        samples: inferences of each model that go along; 0 is all.
        wanted: which wheels go along.
        library: whether the library for programs in C and C++ does.

    Raises:
        BuildError: a wheel or the library is not built, or a file of a model is gone.
        UsageError: no set of wheels runs all of these models, or a runtime lacks its twin.
    """
    store = Store()
    final = paths.dist() / "bundles" / target.name / placement.name_of({m.model for m in models})
    final.parent.mkdir(parents=True, exist_ok=True)
    with store.scratch() as scratch:
        folder = scratch / "bundle"
        lowest = wheels.copy(folder / "wheels", target, store, models, wanted)
        if library:
            lowest = wheels.copy_library(folder / LIBRARY, target, store, models, lowest)
        requires = Requires(
            machine=target.machine, python=PYTHON_SINCE, cpu=target.cpu, modules=["numpy"],
            glibc=lowest.glibc, glibcxx=lowest.glibcxx)  # fmt: skip
        bundled = [_model(manifest, folder, target, samples) for manifest in models]
        _runner(folder / "runner", target)
        (folder / "requirements.txt").write_text(wheels.requirements(folder / "wheels"))
        files_there = files(folder)
        fields: dict[str, object] = {
            "schema_version": 1,
            "target": target.name,
            "requires": requires.model_dump(),
            "files": [f.model_dump() for f in files_there],
            "wheels": [f.path for f in files_there if f.path.startswith("wheels/")],
            "requirements": "requirements.txt",
            "models": [m.model_dump() for m in bundled],
            "runner": "runner",
        }
        fields["release"] = release_id(fields)
        (folder / MANIFEST).write_text(json.dumps(fields, indent=1, sort_keys=True))
        placement.put(folder, final, store, own)
    return final


def files(folder: Path) -> list[File]:
    """All files of a bundle's folder, as its manifest names them."""
    return [
        File(path=p.relative_to(folder).as_posix(), sha256=digest_file(p), size=p.stat().st_size)
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    ]


def _runner(into: Path, target: Target) -> None:
    """Copy the runner, with the backends of the user's own runtimes.

    Raises:
        UsageError: one is missing, or has the name of one of ours.
    """
    shutil.copytree(
        paths.ROOT / "deploy" / "runner",
        into,
        ignore=shutil.ignore_patterns("__pycache__", "*.pyc"),
    )
    for path in (p for own in plugins.folders("backends") for p in sorted(own.glob("[!_]*.py"))):
        if (into / BACKENDS / path.name).exists():
            raise UsageError(f"{path}: the runner has a module {path.name} already")
        shutil.copyfile(path, into / BACKENDS / path.name)
    for runtime in runtimes.serving(target):
        if not (into / BACKENDS / f"{runtime.name}.py").is_file():
            raise UsageError(
                f"runtime {runtime.name} has no module for the device",
                resolution=f"write backends/{runtime.name}.py, its twin in the runner",
            )


def _model(manifest: ModelManifest, folder: Path, target: Target, samples: int) -> BundledModel:
    """Copy what the device needs of a model: its manifest, samples, references and artifacts."""
    source = place.folder_of(manifest.model, manifest.batch)
    relative = place.folder_of(manifest.model, manifest.batch, Path("models")).as_posix()
    into = folder / relative
    into.mkdir(parents=True)
    artifacts = [artifact for _, artifact in runtimes.executed(manifest, target)]
    own = [a.reference for a in artifacts if a.reference is not None]
    labels = [] if manifest.labels is None else [manifest.labels]
    executed = [*(artifact.file for artifact in artifacts), *own]
    for file in (manifest.samples, *manifest.references.values(), *executed, *labels):
        (into / file.file).parent.mkdir(exist_ok=True)
        try:
            shutil.copyfile(source / file.file, into / file.file)
        except FileNotFoundError as error:
            raise BuildError(
                f"{source / file.file} is gone",
                resolution=f"run: invoke compile --model {manifest.model} --target {target.name}",
            ) from error
    _refuse_newer(manifest, into, target)
    manifest = choice.with_fewer_samples(manifest, into, samples)
    served = {runtime.name for runtime in runtimes.serving(target)}
    here = {name: of for name, of in manifest.artifacts.items() if name in served}
    manifest.model_copy(update={"artifacts": here}).for_device(target.name).save(into)
    return BundledModel(
        model=manifest.model,
        batch=manifest.batch,
        folder=relative,
        card=f"{relative}/{model_manifest.FILE}",
        executables=_executables(manifest, target, relative),
    )


def _executables(manifest: ModelManifest, target: Target, folder: str) -> list[Executable]:
    """What runs a model on a device; first what a program gets that asks for nothing else."""
    said = manifest.metadata.runtime if manifest.metadata else None
    found = [
        Executable(
            runtime=runtime.name,
            variant=artifact.variant,
            opt_level=artifact.opt_level,
            file=f"{folder}/{artifact.file.file}",
            inputs=[t.name for t in model_manifest.in_order(manifest.inputs, artifact.inputs)],
            outputs=[t.name for t in model_manifest.in_order(manifest.outputs, artifact.outputs)],
        )
        for runtime, artifact in runtimes.executed(manifest, target)
    ]
    last = {name for name, one in runtimes.all_runtimes().items() if one.makes_artifacts}
    return sorted(
        found,
        key=lambda e: (
            *(e.runtime != said, e.variant != PLAIN, e.runtime in last, e.runtime),
            -(e.opt_level or 0),
        ),
    )


def _refuse_newer(manifest: ModelManifest, folder: Path, target: Target) -> None:
    """Refuse artifacts that need more than the runtime that is sent with them has."""
    for runtime, artifact in runtimes.executed(manifest, target):
        if lacks := runtime.lacks(folder / artifact.file.file):
            raise BuildError(
                f"{manifest.model}: {runtime.title} on devices has not all that "
                f"{artifact.file.file} needs",
                detail="\n".join(lacks),
                resolution="send it for other runtimes (--runtime tvm, litert, ...), convert what "
                "the file was made of (conversion here takes no newer operators), or write it anew "
                "by an older converter",
            )
