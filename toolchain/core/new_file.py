"""A file under a name that no other file has: what is written never takes another's place."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from toolchain.core import store

# where a file system has no hard links (FAT, some network mounts)
WITHOUT_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def write_new(folder: Path, name: str, ending: str, content: bytes) -> Path:
    """Write a file that is whole when it appears, also beside others who write the same name.

    Args:
        folder: made when it is not there.
        name: without the ending; `-2` and so on is added to one that is taken.
        ending: of the name, with its point.
        content: of the file.

    Returns:
        the file.

    Raises:
        NoSpaceError: the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with store.explain_no_space(folder):
        descriptor, given = tempfile.mkstemp(dir=folder, prefix=".", suffix=".tmp")
        temporary = Path(given)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.chmod(0o644)
            final = _placed(temporary, folder, name, ending)
        finally:
            temporary.unlink(missing_ok=True)
    store.fsync_path(folder)
    return final


def _placed(temporary: Path, folder: Path, name: str, ending: str) -> Path:
    """Give the file the first name that is free; taking a name and looking for it are one step."""
    number = 1
    while True:
        final = folder / (f"{name}{ending}" if number == 1 else f"{name}-{number}{ending}")
        number += 1
        try:
            _take(temporary, final)
        except FileExistsError:
            continue
        return final


def _take(temporary: Path, final: Path) -> None:
    """Let a file have a name.

    Raises:
        FileExistsError: another has it.
    """
    try:
        final.hardlink_to(temporary)
    except OSError as error:
        if error.errno not in WITHOUT_LINKS:
            raise
        final.touch(exist_ok=False)
        temporary.rename(final)
