"""Which wheels and libraries a bundle takes, and how pip is told of the wheels.

Wheels that are built here, and the lock's where a project's own are taken as they are: always for
some runtimes, for others when the user asks for it (`--wheels official`).
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import parse_wheel_filename
from packaging.version import Version

from toolchain import runtimes
from toolchain.bundle import choice
from toolchain.core.errors import BuildError, UsageError
from toolchain.core.store import Store, digest_file
from toolchain.lock import pins
from toolchain.models.manifest import ModelManifest
from toolchain.runtimes import Runtime
from toolchain.targets import Target
from toolchain.wheels import official

BUILT, OFFICIAL = "built", "official"


@dataclass(frozen=True, kw_only=True)
class Lowest:
    """The lowest versions of a device's libraries that have every symbol that wheels ask for."""

    glibc: str
    glibcxx: str


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which wheels a bundle takes.

    Attributes:
        as_published: those that projects publish, where there are any.
        python: any at all, which no device without Python needs.
        runtimes: those that the user named, or `all`: no other runtime's wheels go along. When
            empty, those of conversion and compilation do, whatever the models run by.
    """

    as_published: bool = False
    python: bool = True
    runtimes: Sequence[str] = ()

    def alone(self) -> bool:
        """Whether a runtime's wheels go along only where a model runs by it, or it was named."""
        return self.as_published or (bool(self.runtimes) and choice.ALL not in self.runtimes)


AS_BUILT = Wanted()


def are_official(said: str) -> bool:
    """Whether `--wheels` asks for those that projects publish.

    Raises:
        UsageError: it says something else.
    """
    if said not in (BUILT, OFFICIAL):
        raise UsageError(
            f"--wheels {said} is none of {BUILT} and {OFFICIAL}",
            resolution=f"{OFFICIAL} takes the wheels that projects publish, where there are any",
        )
    return said == OFFICIAL


def published(target: Target, models: Sequence[ModelManifest]) -> dict[str, tuple[str, ...]]:
    """What projects publish of that which a bundle needs and is built here otherwise.

    Args:
        target: the device's.
        models: the manifests of the bundle's.

    Returns:
        the names of the lock's sources by the recipe that they stand for.
    """
    found = {
        name: official.names(name.replace("_", "-"), target) for name in _recipes(target, models)
    }
    return {name: wheels for name, wheels in found.items() if wheels}


def _recipes(target: Target, models: Sequence[ModelManifest]) -> list[str]:
    """What is built here, of that which a bundle needs, where nothing published is taken."""
    sent = _sent(target, models, Wanted(as_published=True))
    return list(dict.fromkeys(name for one in sent for name in one.wheels(target, models).built))


def published_in_words(target: Target, models: Sequence[ModelManifest]) -> list[str]:
    """What is taken as it was published, a line each; one that says so where nothing is."""
    found = published(target, models)
    if not _recipes(target, models):
        return [f"{target.name}: all wheels that it needs are their projects' own; none is built"]
    if not found:
        return [
            f"{target.name}: nobody publishes wheels of what it needs; those built here are taken"
        ]
    lines = []
    for names in found.values():
        taken = [pins.source(name) for name in names]
        tags = {tag.interpreter for pin in taken for tag in parse_wheel_filename(pin.file_name)[3]}
        pythons = ", ".join(sorted(f"{tag[2]}.{tag[3:]}" for tag in tags))
        lines.append(
            f"{target.name}: {taken[0].project} {taken[0].version} is its project's own wheel from "
            f"PyPI, for Python {pythons}: pinned by sha256, not built here"
        )
    return lines


def copy(
    into: Path,
    target: Target,
    store: Store,
    models: Sequence[ModelManifest],
    wanted: Wanted = AS_BUILT,
) -> Lowest:
    """Copy what the runtimes of a bundle need installed into a new folder.

    A pinned wheel that serves one Python alone goes along with those for the others: `by_python`
    leaves each device its own.

    Args:
        into: the folder.
        target: the device's.
        store: where pinned wheels are, or are fetched to.
        models: the manifests of the bundle's.
        wanted: which of them; the folder stays empty for devices without Python.

    Returns:
        what the wheels that are built here ask of the device.

    Raises:
        BuildError: a wheel is not built.
        UsageError: no set of wheels runs all of these models.
        LockError: a pinned one can't be had.
    """
    from toolchain.lock import fetch
    from toolchain.wheels import build

    into.mkdir(parents=True)
    glibc = glibcxx = Version("0")
    if not wanted.python:
        return Lowest(glibc=str(glibc), glibcxx=str(glibcxx))
    stand_ins = published(target, models)
    taken = stand_ins if wanted.as_published else {}
    needed = [runtime.wheels(target, models) for runtime in _sent(target, models, wanted)]
    recipes = dict.fromkeys(n for of in needed for n in of.built if n not in taken)
    try:
        built = build.published(target, recipes)
    except BuildError as error:
        if wanted.as_published or not any(name in error.resolution for name in stand_ins):
            raise
        raise BuildError(
            error.brief,
            detail=error.detail,
            resolution=f"{error.resolution}; or take what is published: --wheels {OFFICIAL}",
        ) from error
    for wheel in built:
        shutil.copyfile(wheel.path, into / wheel.path.name)
        glibc = max(glibc, Version(wheel.versions.get("GLIBC", "0")))
        glibcxx = max(glibcxx, Version(wheel.versions.get("GLIBCXX", "0")))
    pinned = [n for of in needed for n in of.pinned]
    for name in dict.fromkeys([*pinned, *(n for names in taken.values() for n in names)]):
        pin = pins.source(name)
        shutil.copyfile(fetch.path_of(pin, store), into / pin.file_name)
    return Lowest(glibc=str(glibc), glibcxx=str(glibcxx))


def copy_library(
    into: Path, target: Target, store: Store, models: Sequence[ModelManifest], lowest: Lowest
) -> Lowest:
    """Copy the library for programs in C and C++ into a new folder.

    Args:
        into: the folder.
        target: the device's.
        store: where it is.
        models: the manifests of the bundle's; what it opens to run them goes along, out of wheels
            that need not be in the bundle.
        lowest: what the wheels ask for.

    Returns:
        what all of them ask of the device.

    Raises:
        BuildError: it is not built, or what it opens.
    """
    from toolchain.library import library_folder
    from toolchain.wheels import build

    library = library_folder.published(target, store)
    shutil.copytree(library.folder, into)
    asked = [{"GLIBC": lowest.glibc, "GLIBCXX": lowest.glibcxx}, library.archive.versions]
    executing = {one.name: one for model in models for one, _ in runtimes.executed(model, target)}
    for runtime in (one for one in executing.values() if one.opened_by_c):
        for wheel in build.published(target, runtime.wheels(target, models).built):
            library_folder.add_opened(into, wheel.path, runtime.opened_by_c)
            asked.append(wheel.versions)
    return Lowest(
        glibc=str(max(Version(of.get("GLIBC", "0")) for of in asked)),
        glibcxx=str(max(Version(of.get("GLIBCXX", "0")) for of in asked)),
    )


def _sent(target: Target, models: Sequence[ModelManifest], wanted: Wanted) -> Iterator[Runtime]:
    """The runtimes that go along: those of conversion and compilation, others with their work."""
    executing = {
        runtime.name for model in models for runtime, _ in runtimes.executed(model, target)
    }
    for runtime in runtimes.serving(target):
        named = runtime.name in wanted.runtimes
        if named or runtime.name in executing or not (wanted.alone() or runtime.makes_artifacts):
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
