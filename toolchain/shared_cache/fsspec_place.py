"""A bucket, by whichever of fsspec's implementations its address names: s3://, gs:// and others.

fsspec is an extra (`invoke setup --extra s3`), and takes a second to import. What it reaches by SSH
comes here never: see `sftp_place`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from toolchain.shared_cache.place import Sent, Wanted

EXTRA = "invoke setup --extra s3 installs fsspec with s3://, pip what others need beside it"
# botocore tries five times, with seconds between them, what refuses a connection; what is busy s3fs
# asks again by itself
ONCE = {"retries": {"total_max_attempts": 1}}
BUCKETS_OF_AWS = ("s3://", "s3a://")


class FsspecPlace:
    """A bucket, or a folder in one.

    Args:
        address: as fsspec takes it; credentials are where its library looks for them.

    Raises:
        OSError: the library for such addresses is not installed, or takes none like it.
    """

    read_only = ""

    def __init__(self, address: str) -> None:
        try:
            from fsspec.core import url_to_fs

            named: dict[str, object] = {"config_kwargs": ONCE} if _of_aws(address) else {}
            # what another process has written is there, whatever was listed before
            found = url_to_fs(address, use_listings_cache=False, skip_instance_cache=True, **named)
        except ImportError as error:
            raise OSError(f"{_line(error)}: {EXTRA}") from error
        except ValueError as error:
            raise OSError(_line(error)) from error
        self._files: Any = found[0]
        if hasattr(self._files, "connect"):
            self._files.connect()  # s3fs makes its client here, from files that take half a second
        self._root = str(found[1]).rstrip("/")

    def fetch(self, wanted: Sequence[Wanted]) -> None:
        """See `Place`."""
        from fsspec.callbacks import Callback

        class Bounded(Callback):  # type: ignore[misc]  # fsspec is an extra, and may have no types
            """Ends a transfer that is longer than what was asked for."""

            def relative_update(self, inc: int = 1) -> None:
                super().relative_update(inc)
                if self.value > one.limit:
                    raise OSError(f"{one.name} is larger than it says")

        for one in wanted:
            self._asked(
                self._files.get_file, f"{self._root}/{one.name}", str(one.path), callback=Bounded()
            )

    def send(self, files: Sequence[Sent]) -> None:
        """See `Place`."""
        for one in files:
            self._asked(self._files.put_file, str(one.path), f"{self._root}/{one.name}")

    def names(self, folder: str) -> list[str]:
        """See `Place`."""
        path = f"{self._root}/{folder}" if folder else self._root
        try:
            found = self._asked(self._files.ls, path, detail=False)
        except FileNotFoundError:
            return []
        return [str(name).rstrip("/").rpartition("/")[2] for name in found]

    def _asked(self, call: Any, *args: str, **named: object) -> Any:
        try:
            return call(*args, **named)
        except FileNotFoundError:
            raise
        except PermissionError as error:
            raise PermissionError(_line(error)) from error
        except OSError as error:
            raise OSError(_line(error)) from error
        except Exception as error:  # each library of a cloud has errors of its own
            raise OSError(_line(error)) from error


def _of_aws(address: str) -> bool:
    return address.lower().startswith(BUCKETS_OF_AWS)


def _line(error: Exception) -> str:
    """What an error says, in one line."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
