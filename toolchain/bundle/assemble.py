"""Artifacts + manifest, ready to be sent: wheels, models, the runner, what they ask of a device.

A bundle is a folder that is the same for the same content; its release id is the hash of its
manifest. Nothing here talks to a device.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from packaging.utils import parse_wheel_filename
from packaging.version import Version
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from toolchain.core import paths, provenance
from toolchain.core.errors import BuildError, UsageError
from toolchain.core.store import Store, digest_file, digest_of
from toolchain.lock import fetch, pins
from toolchain.lock.pins import Sha256
from toolchain.models import manifest as model_manifest
from toolchain.models import place
from toolchain.models.manifest import ModelManifest
from toolchain.targets import Target
from toolchain.wheels.recipe import PYTHON_SINCE

MANIFEST = "manifest.json"
# Pure-Python wheels that ours need and a device may lack.
EXTRA_WHEELS = ("typing-extensions",)
# The wheel of TVM's runtime: of the release, and of the compiler from source.
RUNTIME, RUNTIME_FROM_SOURCE = "tvm_runtime", "tvm_runtime_source"
RUNTIMES = (RUNTIME, RUNTIME_FROM_SOURCE)


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


class BundledModel(_Frozen):
    """A model in the bundle; `card`, as releases have always named it, is its model.json."""

    model: str
    batch: int
    folder: str
    card: str


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
    """Read a bundle's manifest; check that its id is its content's, and that TVM's parts fit.

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
    _refuse_other_runtime(folder, manifest)
    return manifest


def _refuse_other_runtime(folder: Path, manifest: Manifest) -> None:
    """Refuse libraries that another TVM compiled than the one whose runtime is in the bundle."""
    from toolchain.wheels import build as wheels

    names = {wheels.recipe(name)[0].name for name in RUNTIMES}
    parsed = [parse_wheel_filename(Path(wheel).name) for wheel in manifest.wheels]
    runtimes = {str(version) for name, version, *_ in parsed if name in names}
    compiled = {
        version
        for model in manifest.models
        for version in tvm_versions(ModelManifest.load(folder / model.folder), manifest.target)
    }
    if compiled and compiled != runtimes:
        raise BuildError(
            f"the bundle's libraries were compiled by TVM {', '.join(sorted(compiled))}, "
            f"its runtime is {', '.join(sorted(runtimes)) or 'missing'}",
            resolution="compile the models again with one --compiler, then deploy again",
        )


def tvm_versions(model: ModelManifest, target: str) -> set[str]:
    """The versions of TVM that compiled a model's libraries for a target."""
    return {library.tvm for library in model.libraries.get(target, {}).values()}


def release_id(fields: dict[str, object]) -> str:
    """The release id of a manifest's fields: their hash without the id itself."""
    return digest_of({k: v for k, v in fields.items() if k != "release"})


def make(target: Target, models: Sequence[str]) -> Path:
    """Gather a bundle from dist/ into dist/bundles/<target>/<models>/.

    Args:
        target: the device's target.
        models: names of models in dist/models; every one compiled for the target when empty.

    Returns:
        the bundle's folder.

    Raises:
        BuildError: a wheel is not built.
        UsageError: a model is not compiled for the target.
    """
    store = Store()
    chosen = _model_folders(target, models)
    name = "+".join(sorted({f.parent.name for f in chosen})) or "runtime"
    final = paths.dist() / "bundles" / target.name / name
    final.parent.mkdir(parents=True, exist_ok=True)
    with store.scratch() as scratch:
        folder = scratch / "bundle"
        requires = _wheels(folder / "wheels", target, store, _runtime(chosen, target))
        bundled = [_model(source, folder, target) for source in chosen]
        shutil.copytree(
            paths.ROOT / "deploy" / "runner",
            folder / "runner",
            ignore=shutil.ignore_patterns("__pycache__", "*.pyc"),
        )
        (folder / "requirements.txt").write_text(_requirements(folder / "wheels"))
        files = [
            File(
                path=p.relative_to(folder).as_posix(),
                sha256=digest_file(p),
                size=p.stat().st_size,
            )
            for p in sorted(folder.rglob("*"))
            if p.is_file()
        ]
        fields: dict[str, object] = {
            "schema_version": 1,
            "target": target.name,
            "requires": requires.model_dump(),
            "files": [f.model_dump() for f in files],
            "wheels": [f.path for f in files if f.path.startswith("wheels/")],
            "requirements": "requirements.txt",
            "models": [m.model_dump() for m in bundled],
            "runner": "runner",
        }
        fields["release"] = release_id(fields)
        (folder / MANIFEST).write_text(json.dumps(fields, indent=1, sort_keys=True))
        staged = final.with_name(f".{name}.new")
        shutil.rmtree(staged, ignore_errors=True)
        shutil.move(folder, staged)
        shutil.rmtree(final, ignore_errors=True)
        staged.rename(final)
    return final


def _runtime(folders: Sequence[Path], target: Target) -> str:
    """The wheel of the TVM runtime that runs the libraries of these models.

    Raises:
        UsageError: they were compiled by different TVMs, or by one that is no more.
    """
    from toolchain.wheels import build as wheels

    by = {f: tvm_versions(ModelManifest.load(f), target.name) for f in folders}
    found = set().union(*by.values())
    known = {wheels.recipe(name)[0].version: name for name in RUNTIMES}
    if not found:
        return RUNTIME
    if len(found) == 1 and found <= known.keys():
        return known[found.pop()]
    raise UsageError(
        f"one bundle holds the libraries of one TVM, not of {', '.join(sorted(found))}",
        detail="\n".join(
            f"{folder.parent.name}, batch {folder.name[1:]}: {', '.join(sorted(versions))}"
            for folder, versions in by.items()
        ),
        resolution="compile them again with one --compiler, or deploy them one at a time (--model)",
    )


def _wheels(into: Path, target: Target, store: Store, runtime: str) -> Requires:
    from toolchain.wheels import build as wheels

    into.mkdir(parents=True)
    glibc = glibcxx = Version("0")
    names = [runtime if name == RUNTIME else name for name in wheels.ALL]
    for wheel in wheels.published(target, names):
        shutil.copyfile(wheel.path, into / wheel.path.name)
        glibc = max(glibc, Version(wheel.versions.get("GLIBC", "0")))
        glibcxx = max(glibcxx, Version(wheel.versions.get("GLIBCXX", "0")))
    for name in EXTRA_WHEELS:
        pin = pins.source(name)
        shutil.copyfile(fetch.path_of(pin, store), into / pin.file_name)
    return Requires(
        machine=target.machine,
        python=PYTHON_SINCE,
        glibc=str(glibc),
        glibcxx=str(glibcxx),
        cpu=target.cpu,
        modules=["numpy"],
    )


def _requirements(folder: Path) -> str:
    lines = []
    for wheel in sorted(folder.iterdir()):
        name, version, _, _ = parse_wheel_filename(wheel.name)
        lines.append(f"{name}=={version} --hash=sha256:{digest_file(wheel)}\n")
    return "".join(lines)


def _model_folders(target: Target, models: Sequence[str]) -> list[Path]:
    found = {
        folder: folder.parent.name
        for folder in place.all_folders()
        if (folder / target.name).is_dir()
    }
    missing = set(models) - set(found.values())
    if missing:
        name = min(missing)
        raise UsageError(
            f"model {name} is not compiled for {target.name}",
            resolution=f"run: invoke compile --model {name} --target {target.name}",
        )
    return [f for f, name in found.items() if not models or name in models]


def _model(source: Path, folder: Path, target: Target) -> BundledModel:
    """Copy what the device needs of a model: its manifest, samples, TFLite files and libraries."""
    relative = f"models/{source.parent.name}/{source.name}"
    into = folder / relative
    into.mkdir(parents=True)
    wanted = [*source.glob("*.tflite"), *source.glob("reference-*.npy")]
    for path in [*wanted, source / "samples.npz"]:
        if path.is_file():
            shutil.copyfile(path, into / path.name)
    ModelManifest.load(source).for_device(target.name).save(into)
    shutil.copytree(
        source / target.name,
        into / target.name,
        ignore=shutil.ignore_patterns(f"*{provenance.SUFFIX}"),
    )
    return BundledModel(
        model=source.parent.name,
        batch=int(source.name[1:]),
        folder=relative,
        card=f"{relative}/{model_manifest.FILE}",
    )
