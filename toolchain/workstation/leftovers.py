"""Clears away what processes of ours that are gone left behind: scratch folders and containers.

Most of them clean up as they end, also when they are interrupted; one that is killed can't. What
they make has their name on it (`process.own_name`), and a container a file in the cache as long as
it is there, so that looking is a matter of reading three folders: 1 ms, and no engine is asked as
long as nothing is found.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from toolchain.core import paths, process
from toolchain.core.errors import EngineError
from toolchain.images import container_mark

# before the owner's name: of folders in the system's temporary folder, and of staged bundles
BEFORE = re.compile(r"^(edgewright-|\.)")
END_S = 5.0  # how long the end of a task may wait for the clearing


def sweep() -> threading.Thread | None:
    """Begin to clear away what is left; None when nothing is.

    It goes on beside the task, whose end waits for it for some seconds. What is not cleared then,
    the next start finds again.
    """
    found = list(left())
    if not found:
        return None
    clearing = threading.Thread(target=clear, args=(found,), daemon=True)
    clearing.start()
    atexit.register(clearing.join, END_S)
    return clearing


def left() -> Iterator[Path]:
    """What is in the places of temporary things, is this user's, and of a process that ended."""
    bundles = paths.dist() / "bundles"
    targets = [bundles / name for name in _names(bundles)]
    for folder in (paths.cache() / paths.SCRATCH, Path(tempfile.gettempdir()), *targets):
        for name in _names(folder):
            if process.is_gone(BEFORE.sub("", name)) and _ours(folder / name):
                yield folder / name


def clear(found: Iterable[Path]) -> None:
    """Remove what was found, the containers of its owners first: scratch is mounted in them."""
    marks: list[Path] = []
    others: list[Path] = []
    for path in found:
        (marks if container_mark.KIND in path.name else others).append(path)
    if marks:
        # the SDK takes half a second to import
        from toolchain.images.engine import Engine

        try:
            # those that were marked here: of another user's processes it can't be told who lives
            owners = {match[0] for path in marks if (match := process.OWNED.match(path.name))}
            Engine().remove_builds(lambda owner: owner in owners)
        except EngineError:
            return  # the marks stay, and so does what the containers may still write to
    for path in others:
        # folders too deep for Python are nobody's but a hostile model's
        with suppress(RecursionError):
            shutil.rmtree(path, ignore_errors=True)
    for path in (*marks, *others):
        # marks, and what is neither a folder nor of ours by more than its name
        if not path.is_dir() or path.is_symlink():
            path.unlink(missing_ok=True)


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []


def _ours(path: Path) -> bool:
    try:
        return path.lstat().st_uid == os.geteuid()
    except OSError:
        return False
