"""A folder that is published to, by paths below it; each file is whole when it appears.

Others may write there too: no link in it is followed, and what is no file is neither read nor
waited for.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Protocol

from toolchain.core.errors import UsageError
from toolchain.core.store import explain_no_space, write_atomically

LARGEST = 1 << 30  # bytes of a file: wheels have hundreds of MiB


class Files(Protocol):
    """Where an index is, by paths below its top."""

    @property
    def name(self) -> str:
        """How it is named to the reader."""

    def read(self, name: str) -> bytes | None:
        """A file's bytes; None when it isn't there."""

    def write(self, name: str, content: bytes) -> bool:
        """Write a file; whether that changes anything, as far as that is known."""

    def finish(self) -> None:
        """Have all that was written be there."""


class Folder:
    """A folder of this machine, or one that is mounted here.

    Args:
        root: it is made when it isn't there.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def name(self) -> str:
        """Its path, links resolved."""
        return str(self.root.resolve())

    def finish(self) -> None:
        """Nothing: each file is there when it is written."""

    def read(self, name: str) -> bytes | None:
        """A file's bytes; None when it isn't there.

        Raises:
            UsageError: it can't be read, is no file or lies behind a link.
        """
        path = self._inside(name)
        try:
            opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
            with os.fdopen(opened, "rb") as stream:
                found = os.fstat(opened)
                if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST:
                    raise OSError(f"{path} is no file that was published")
                return stream.read(found.st_size)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error) from error

    def write(self, name: str, content: bytes) -> bool:
        """Write a file, unless it is there with these bytes.

        Returns:
            whether it was written.

        Raises:
            UsageError: it can't be.
            NoSpaceError: the disk is full.
        """
        if self.read(name) == content:
            return False
        path = self._inside(name)
        try:
            with explain_no_space(self.root):
                write_atomically(path, content)
        except OSError as error:
            raise self._unusable(error) from error
        return True

    def _inside(self, name: str) -> Path:
        """Where a file lies.

        Raises:
            UsageError: a link on the way leads elsewhere.
        """
        path = self.root / name
        for folder in path.parents[: len(Path(name).parts) - 1]:
            if folder.is_symlink():
                raise self._unusable(OSError(f"{folder} is a link, to {folder.readlink()}"))
        return path

    def _unusable(self, error: OSError) -> UsageError:
        return UsageError(
            f"{self.root} can't be published to",
            detail=str(error),
            resolution="name a folder that you may write to: --to FOLDER",
        )
