"""The sources of a recipe, unpacked: from pinned archives to folders that a build may change.

What an archive's parts look like unpacked is kept in the store as a plain tar file, which `tar`
unpacks in a second: reading TensorFlow's own archive again takes longer than compiling one file.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from toolchain.core import fingerprint, process
from toolchain.core.errors import CommandError
from toolchain.core.store import Entry, Store, explain_no_space
from toolchain.lock import unpack
from toolchain.lock.pins import Pinned
from toolchain.wheels.recipe import Job, Recipe

TREE = "tree.tar"


Archive = Callable[[Pinned], Path]


def lay_out(
    made: Recipe,
    pins: Mapping[str, Pinned],
    archive: Archive,
    store: Store,
    into: Path,
    job: Job,
    *,
    kept: bool,
) -> None:
    """Unpack a recipe's sources, each into a folder of its name, `job.jobs` at once.

    Args:
        made: the recipe; of a source in its `parts` only those are unpacked.
        pins: each source by its name.
        archive: gives the file of a pin, its bytes checked.
        store: where trees are kept.
        into: the folder to make.
        job: how many at once, and whom to tell.
        kept: take the trees that the store keeps, and keep those that it lacks; otherwise each
            archive is read again and nothing is kept.

    Raises:
        LockError: an archive can't be had or unpacked; see `toolchain.lock.unpack`.
    """
    way = _from_kept if kept else _from_archive
    into.mkdir(parents=True)
    with ThreadPoolExecutor(job.jobs) as pool:
        futures = {}
        for source, pin in pins.items():
            parts = made.parts.get(source, ())
            futures[source] = pool.submit(way, pin, parts, archive, store, into / source)
        for source, future in futures.items():
            job.progress(f"unpacking {source}")
            future.result()


def _from_archive(
    pin: Pinned, parts: Sequence[str], archive: Archive, _store: Store, into: Path
) -> None:
    way = unpack.unpack_apart if parts else unpack.unpack
    way(archive(pin), pin.file_name, into, parts)


def _from_kept(
    pin: Pinned, parts: Sequence[str], archive: Archive, store: Store, into: Path
) -> None:
    tree = _kept(pin, parts, archive, store).file(TREE)
    into.mkdir()
    _tar(store, ["-x", "-p", "--no-same-owner", "-f", tree, "-C", into])


def _kept(pin: Pinned, parts: Sequence[str], archive: Archive, store: Store) -> Entry:
    """The entry that holds an archive's tree; made when the store has none."""
    made_from = {
        "kind": "tree",
        "code": fingerprint.of(__name__),
        "archive": pin.sha256,
        "parts": list(parts),
    }

    def build(folder: Path) -> None:
        with store.scratch() as scratch:
            _from_archive(pin, parts, archive, store, scratch / "tree")
            # folders have the modes of this process's umask, which another's may not be
            modes = "--mode=u+rwX,go+rX"
            _tar(store, ["-c", modes, "-f", folder / TREE, "-C", scratch / "tree", "."])

    return store.get_or_build(made_from, build)


def _tar(store: Store, args: Sequence[str | Path]) -> None:
    """Run tar, a full disk told as such."""
    with explain_no_space(store.root):
        try:
            process.run(["tar", *args], env={"LC_ALL": "C"})
        except CommandError as error:
            for number in (errno.ENOSPC, errno.EDQUOT):
                if os.strerror(number) in error.detail:
                    raise OSError(number, os.strerror(number)) from error
            raise
