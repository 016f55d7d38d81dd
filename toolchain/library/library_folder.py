"""dist/library/<target>/: lib, include, pkg-config and CMake files, out of the library's archive.

The recipe `edgewright_library` builds the archive, which is a wheel, as wheels are built.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from toolchain.core import paths, process
from toolchain.core.errors import BuildError
from toolchain.core.store import Store, digest_of, digest_tree
from toolchain.runtimes import tflite, tvm
from toolchain.targets import Target
from toolchain.wheels import build as wheels
from toolchain.wheels.build import Built

if TYPE_CHECKING:
    from toolchain.lock.fetch import Progress

RECIPE = "edgewright_library"
SHARED_OBJECT = "lib/libedgewright.so"
RUNTIME = tflite.RUNTIME.name  # whose interpreter is in it
RUNTIMES = (RUNTIME, tvm.RUNTIME.name)  # by which it runs networks


@dataclass(frozen=True, kw_only=True)
class Library:
    """The library of a target.

    Attributes:
        folder: in dist/, with `lib`, `include` and `licenses`.
        archive: what it came out of.
    """

    folder: Path
    archive: Built


def build(
    target: Target,
    store: Store,
    *,
    progress: Callable[[str], None],
    fetched: Progress | None = None,
) -> Library:
    """Build the library of a target, or find it, and lay it out in dist/library/<target>/.

    Arguments and errors are those of `toolchain.wheels.build.build`.
    """
    return _laid_out(
        target, store, wheels.build(target, RECIPE, store, progress=progress, fetched=fetched)
    )


def published(target: Target, store: Store) -> Library:
    """The library of a target, without building it.

    Raises:
        BuildError: it is not built as the lock and the recipe now say.
    """
    if store.entry(digest_of(wheels.inputs(RECIPE, target))) is None:
        raise BuildError(
            f"the library for C and C++ is not built for {target.name}",
            resolution=f"run: invoke build-library --target {target.name}",
        )
    (archive,) = wheels.published(target, [RECIPE])
    return _laid_out(target, store, archive)


def add_opened(folder: Path, wheel: Path, names: Iterable[str]) -> None:
    """Put what the library opens out of a wheel into its folder, under the paths that it has there.

    Args:
        folder: the library's.
        wheel: that may have some of them.
        names: of the files.
    """
    with zipfile.ZipFile(wheel) as opened:
        for name in set(names).intersection(opened.namelist()):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(opened.read(name))
            (folder / name).chmod(0o755)


def _laid_out(target: Target, store: Store, archive: Built) -> Library:
    """Put what is in the archive into dist/, in the place of what was there."""
    final = paths.dist() / "library" / target.name
    final.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{process.own_name()}-"
    with (
        store.locked(f"library-{digest_of(str(final))}"),
        tempfile.TemporaryDirectory(dir=final.parent, prefix=prefix) as beside,
    ):
        staged, replaced = Path(beside) / "new", Path(beside) / "old"
        for path, content in _members(archive.path):
            (staged / path).parent.mkdir(parents=True, exist_ok=True)
            (staged / path).write_bytes(content)
        (staged / SHARED_OBJECT).chmod(0o755)
        if not final.is_dir() or digest_tree(final) != digest_tree(staged):
            if final.exists():
                final.rename(replaced)
            staged.rename(final)
    return Library(folder=final, archive=archive)


def _members(archive: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """The files of the folder, by their path there: the package's, licences, bill of materials."""
    with zipfile.ZipFile(archive) as opened:
        for name in opened.namelist():
            path = PurePosixPath(name)
            package, rest = path.parts[0], path.relative_to(path.parts[0])
            if package == RECIPE or rest.parts[0] in ("licenses", "sboms"):
                yield rest, opened.read(name)
