"""Which wheels a bundle takes, and how pip is told of them."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import parse_wheel_filename
from packaging.version import Version

from toolchain import runtimes
from toolchain.core.store import Store, digest_file
from toolchain.lock import fetch, pins
from toolchain.models.manifest import ModelManifest
from toolchain.runtimes import Runtime
from toolchain.targets import Target


@dataclass(frozen=True, kw_only=True)
class Lowest:
    """The lowest versions of a device's libraries that have every symbol that wheels ask for."""

    glibc: str
    glibcxx: str


def copy(into: Path, target: Target, store: Store, models: Sequence[ModelManifest]) -> Lowest:
    """Copy what the runtimes of a bundle need installed into a new folder.

    A pinned wheel that serves one Python alone goes along with those for the others: `by_python`
    leaves each device its own.

    Args:
        into: the folder.
        target: the device's.
        store: where pinned wheels are, or are fetched to.
        models: the manifests of the bundle's.

    Returns:
        what the wheels that are built here ask of the device.

    Raises:
        BuildError: a wheel is not built.
        UsageError: no set of wheels runs all of these models.
        LockError: a pinned one can't be had.
    """
    from toolchain.wheels import build

    into.mkdir(parents=True)
    glibc = glibcxx = Version("0")
    needed = [runtime.wheels(target, models) for runtime in _sent(target, models)]
    for wheel in build.published(target, dict.fromkeys(n for of in needed for n in of.built)):
        shutil.copyfile(wheel.path, into / wheel.path.name)
        glibc = max(glibc, Version(wheel.versions.get("GLIBC", "0")))
        glibcxx = max(glibcxx, Version(wheel.versions.get("GLIBCXX", "0")))
    for name in dict.fromkeys(n for of in needed for n in of.pinned):
        pin = pins.source(name)
        shutil.copyfile(fetch.path_of(pin, store), into / pin.file_name)
    return Lowest(glibc=str(glibc), glibcxx=str(glibcxx))


def _sent(target: Target, models: Sequence[ModelManifest]) -> Iterator[Runtime]:
    """The runtimes that go along: those of conversion and compilation, others with their work."""
    executing = {
        runtime.name for model in models for runtime, _ in runtimes.executed(model, target)
    }
    for runtime in runtimes.serving(target):
        if not runtime.makes_artifacts or runtime.name in executing:
            yield runtime


def requirements(folder: Path) -> str:
    """The text by which pip installs a folder's wheels, each by its hash.

    Where several are of one release of a project, pip takes the one that serves its Python.
    """
    hashes: dict[str, list[str]] = defaultdict(list)
    for wheel in sorted(folder.iterdir()):
        name, version, _, _ = parse_wheel_filename(wheel.name)
        hashes[f"{name}=={version}"].append(f"--hash=sha256:{digest_file(wheel)}")
    return "".join(f"{release} {' '.join(of)}\n" for release, of in hashes.items())
