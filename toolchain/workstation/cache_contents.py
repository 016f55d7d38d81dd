"""What the cache of this machine holds, and what of it has not been used for long.

Only built folders are ever removed: they can be made again of the lock. Fetched files stay, since a
mirror may not have them any more, and so do the keys of emulated devices.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from toolchain.core import paths
from toolchain.core.store import MANIFEST, Store

DAY = 24 * 3600.0
# what an entry's inputs call it, and what it is called here; models' have no word of their own
KINDS = {
    "image": "notes of Docker's images",
    "root": "root file systems of images",
    "tree": "unpacked sources",
    "wheel": "wheels",
    "counter": "the emulator that counts",
    None: "converted and compiled models",
}
OTHERS = {
    "blobs": "fetched files",
    "ccache": "compilers' own cache",
    "emulator": "keys of emulated devices",
    "shared-results": "results of others",
    paths.SCRATCH: "under way",
}


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of the cache.

    Attributes:
        what: in words.
        count: of its files, or of its built folders.
        size: bytes on the disk.
        unused: bytes of it that `remove` takes away.
    """

    what: str
    count: int
    size: int
    unused: int = 0


@dataclass(frozen=True, kw_only=True)
class _Built:
    folder: Path
    what: str
    size: int
    used: float


def contents(store: Store, days: float) -> list[Part]:
    """The parts of the cache, the largest first.

    Args:
        store: the cache.
        days: for how long what is unused has not been read.
    """
    parts = []
    for folder, what in OTHERS.items():
        sizes = [_size(path) for path in _files(store.root / folder)]
        parts.append(Part(what=what, count=len(sizes), size=sum(sizes)))
    every = list(_built(store))
    for what in dict.fromkeys(one.what for one in every):
        of = [one for one in every if one.what == what]
        unused = sum(one.size for one in of if _is_unused(one, days))
        size = sum(one.size for one in of)
        parts.append(Part(what=what, count=len(of), size=size, unused=unused))
    return sorted((part for part in parts if part.count), key=lambda part: -part.size)


def remove(store: Store, days: float) -> int:
    """Remove built folders that have not been read for so many days; the bytes that are free then.

    One that is being built or looked at just now stays.
    """
    freed = 0
    for one in _built(store):
        if not _is_unused(one, days):
            continue
        locks = store.root / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(locks / f"{one.folder.name}.lock", timeout=0)
        with suppress(Timeout, FileNotFoundError), lock, store.scratch() as scratch:
            # gone in one rename: no half of it ever counts
            one.folder.rename(scratch / one.folder.name)
            freed += one.size
    return freed


def _is_unused(one: _Built, days: float) -> bool:
    return time.time() - one.used > days * DAY


def _built(store: Store) -> Iterator[_Built]:
    for manifest in sorted((store.root / "entries").glob(f"*/*/{MANIFEST}")):
        try:
            inputs = json.loads(manifest.read_text())["inputs"]
            found = manifest.stat()
        except (OSError, ValueError, KeyError, TypeError):
            continue  # another process takes it away, or makes it
        kind = inputs.get("kind") if isinstance(inputs, dict) else None
        yield _Built(
            folder=manifest.parent,
            what=KINDS.get(kind, KINDS[None]),
            size=sum(map(_size, _files(manifest.parent))),
            used=_used(manifest.parent, found.st_mtime),
        )


def _used(folder: Path, made: float) -> float:
    """When a folder's files were last read, in seconds: each use checks all of them.

    The manifest is left out, which looking here has just read.
    """
    read = [_read(path) for path in _files(folder) if path.name != MANIFEST]
    return max([made, *read])


def _files(folder: Path) -> Iterator[Path]:
    """Its files, without what is mounted there, as a /proc is where a system is being built."""
    try:
        disk = os.lstat(folder).st_dev
    except FileNotFoundError:
        return
    for inside, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if _is_on(disk, Path(inside, name))]
        for path in (Path(inside, name) for name in names):
            with suppress(OSError):  # another process takes it away
                if stat.S_ISREG(os.lstat(path).st_mode):
                    yield path


def _is_on(disk: int, folder: Path) -> bool:
    try:
        return os.lstat(folder).st_dev == disk
    except OSError:
        return False


def _read(path: Path) -> float:
    """When a file was last read; long ago for one that is gone meanwhile."""
    try:
        return path.stat().st_atime
    except OSError:
        return 0.0


def _size(path: Path) -> int:
    """Bytes on the disk; none for a file that is gone meanwhile."""
    try:
        return path.stat().st_blocks * 512
    except OSError:
        return 0
