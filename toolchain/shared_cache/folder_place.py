"""A folder of this machine, or one that is mounted here.

Others may write there too: no link in it is followed, and what is no file is neither read nor
waited for.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path

from toolchain.shared_cache.place import CHUNK, Sent, Wanted


class FolderPlace:
    """A folder.

    Args:
        root: where it is. It is not made here: a file system that is not mounted has an empty one.
    """

    read_only = ""

    def __init__(self, root: Path) -> None:
        self._root = root

    def fetch(self, wanted: Sequence[Wanted]) -> None:
        """See `Place`."""
        self._refuse_absent()
        for one in wanted:
            opened = _opened(self._inside(one.name))
            with os.fdopen(opened, "rb") as source, one.path.open("xb", buffering=0) as sink:
                if not stat.S_ISREG(os.fstat(opened).st_mode):
                    raise PermissionError("what is in its place is no file")
                left = one.limit
                while left and (piece := source.read(min(CHUNK, left))):
                    sink.write(piece)
                    left -= len(piece)

    def send(self, files: Sequence[Sent]) -> None:
        """See `Place`."""
        self._refuse_absent()
        for one in files:
            final = self._inside(one.name)
            final.parent.mkdir(parents=True, exist_ok=True)
            opened, temporary = tempfile.mkstemp(dir=final.parent, prefix=".", suffix=".part")
            try:
                with os.fdopen(opened, "wb") as sink, one.path.open("rb") as source:
                    while piece := source.read(CHUNK):
                        sink.write(piece)
                    sink.flush()
                    os.fchmod(opened, 0o644 & ~_umask())
                    os.fsync(opened)
                Path(temporary).rename(final)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise

    def names(self, folder: str) -> list[str]:
        """See `Place`."""
        self._refuse_absent()
        path = self._inside(f"{folder}/any").parent if folder else self._root
        try:
            with os.scandir(path) as found:
                return [one.name for one in found if one.is_file(follow_symlinks=False)]
        except FileNotFoundError:
            return []

    def _refuse_absent(self) -> None:
        if not self._root.is_dir():
            raise NotADirectoryError(f"there is no such folder; once: mkdir {self._root}")

    def _inside(self, name: str) -> Path:
        path = self._root / name
        for folder in path.parents[: len(Path(name).parts) - 1]:
            if folder.is_symlink():
                raise PermissionError(f"a link stands in the way: {folder}")
        return path


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise PermissionError("what is in its place is a link") from error


def _umask() -> int:
    """What new files of this process don't let others do."""
    said = Path("/proc/self/status").read_text()
    return int(next(line for line in said.splitlines() if line.startswith("Umask:"))[6:], 8)
