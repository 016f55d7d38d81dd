"""A folder elsewhere that is published to: over SFTP, or in a bucket.

What is written is kept here until `finish`, and then sent in one go, in its order. Nothing guards
against two that publish to one address at the same moment: the page of the later one stands.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

from toolchain.core.errors import UsageError
from toolchain.publication.folder import LARGEST
from toolchain.shared_cache import addresses
from toolchain.shared_cache.place import Place, Sent, Wanted


class RemoteFolder:
    """A folder at an address.

    Args:
        address: as a shared cache's may be.
        scratch: an empty folder of the caller's.

    Raises:
        UsageError: nothing can be published there, or a library is not installed.
    """

    def __init__(self, address: str, scratch: Path) -> None:
        self.name = addresses.shown(address)
        self._scratch = scratch
        self._sent: dict[str, Path] = {}
        try:
            self._place: Place = addresses.place_at(address)
        except OSError as error:
            raise self._unusable(error) from error
        if self._place.read_only:
            raise self._unusable(PermissionError(self._place.read_only))

    def read(self, name: str) -> bytes | None:
        """A file's bytes; None when it isn't there.

        Raises:
            UsageError: it can't be read.
        """
        if name in self._sent:
            return self._sent[name].read_bytes()
        path = self._new(name)
        try:
            self._tried(lambda: self._place.fetch([Wanted(name=name, path=path, limit=LARGEST)]))
            return path.read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> bool:
        """Have a file written by `finish`.

        Returns:
            True: whether it is there with these bytes is not looked at.
        """
        path = self._sent[name] = self._new(name)
        path.write_bytes(content)
        return True

    def finish(self) -> None:
        """Send what was written.

        Raises:
            UsageError: it can't be.
        """
        files = [Sent(name=name, path=path) for name, path in self._sent.items()]
        try:
            self._tried(lambda: self._place.send(files))
        except FileNotFoundError as error:
            raise self._unusable(error) from error

    def _new(self, name: str) -> Path:
        """A place for a file here: a bucket tells its type by the end of this name."""
        return Path(mkdtemp(dir=self._scratch)) / Path(name).name

    def _tried(self, what: Callable[[], None]) -> None:
        try:
            what()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> UsageError:
        return UsageError(
            f"{self.name} can't be published to",
            detail=str(error),
            resolution="name a folder, sftp:// or s3:// that you may write to: --to FOLDER",
        )
