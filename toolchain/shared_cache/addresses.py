"""Where the shared cache is: `EDGEWRIGHT_SHARED_CACHE`, and which kind of place that is."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from toolchain.core.errors import UsageError
from toolchain.shared_cache.place import Place

SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
WEB, SSH, LOCAL = ("http", "https"), ("sftp", "ssh"), ("file", "local")
EXAMPLES = "for example: /srv/edgewright, https://cache.example/edgewright, s3://bucket/edgewright"


def address() -> str:
    """What the variable says; empty when it is not set."""
    return os.environ.get("EDGEWRIGHT_SHARED_CACHE", "").strip()


def shown(address: str) -> str:
    """An address as it may be printed: without the user's name, password and what follows a ?."""
    if "://" not in address:
        return address
    return re.sub(r"//[^/]*@", "//", address).partition("?")[0]


def place_at(address: str) -> Place:
    """The place that an address names; nothing is asked of it yet.

    Raises:
        UsageError: no place can be there.
        OSError: the library for such addresses is not installed.
    """
    found = SCHEME.match(address)
    scheme = found[1].lower() if found else "file"
    if "::" in address or "\n" in address:
        raise _unknown(address)
    if scheme in LOCAL:
        # imported here as are the others: a task mostly has no use for any
        from toolchain.shared_cache.folder_place import FolderPlace

        path = unquote(urlsplit(address).path) if found else address
        root = Path(path).expanduser()
        if not root.is_absolute() or (found and urlsplit(address).netloc not in ("", "localhost")):
            raise _unknown(address)
        return FolderPlace(root)
    try:
        urlsplit(address).port  # noqa: B018  # it raises where that is no number
    except ValueError as error:
        raise _unknown(address) from error
    if scheme in WEB:
        from toolchain.shared_cache.http_place import HttpPlace

        return HttpPlace(address)
    if scheme in SSH:
        from toolchain.shared_cache.sftp_place import SftpPlace

        return SftpPlace(address)
    from toolchain.shared_cache.fsspec_place import FsspecPlace

    return FsspecPlace(address)


def _unknown(address: str) -> UsageError:
    return UsageError(f"{shown(address)} leads nowhere", resolution=EXAMPLES)
