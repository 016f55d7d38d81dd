"""A folder that is published to, by paths below it; each file is whole when it appears."""

from __future__ import annotations

from pathlib import Path

from toolchain.core.errors import UsageError
from toolchain.core.store import explain_no_space, write_atomically


class Folder:
    """A folder of this machine, or one that is mounted here.

    Args:
        root: it is made when it isn't there.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, name: str) -> bytes | None:
        """A file's bytes; None when it isn't there.

        Raises:
            UsageError: it can't be read.
        """
        try:
            return (self.root / name).read_bytes()
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
        try:
            with explain_no_space(self.root):
                write_atomically(self.root / name, content)
        except OSError as error:
            raise self._unusable(error) from error
        return True

    def _unusable(self, error: OSError) -> UsageError:
        return UsageError(
            f"{self.root} can't be published to",
            detail=str(error),
            resolution="name a folder that you may write to: --to FOLDER",
        )
