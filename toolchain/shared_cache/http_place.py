"""A web server that hands a folder out. Nothing can be sent there."""

from __future__ import annotations

from collections.abc import Sequence

import requests
from urllib3.exceptions import HTTPError

from toolchain.shared_cache.place import CHUNK, Wanted

# seconds until a connection stands, and between two pieces
TIMEOUTS = (2, 2)
ABSENT = (requests.codes.not_found, requests.codes.gone)


class HttpPlace:
    """A web server's folder.

    Args:
        address: of the folder; a user and password in it are sent as HTTP's basic authentication.
    """

    read_only = "a web server takes nothing"

    def __init__(self, address: str) -> None:
        self._address = address.rstrip("/")
        self._session = requests.Session()
        # as they lie there; where a server packs them all the same, nothing is unpacked
        self._session.headers["Accept-Encoding"] = "identity"

    def fetch(self, wanted: Sequence[Wanted]) -> None:
        """See `Place`."""
        for one in wanted:
            try:
                self._one(one)
            except (requests.RequestException, HTTPError) as error:
                # its own text has an address, and may have a password in it
                raise OSError(f"it can't be reached ({type(error).__name__})") from error

    def send(self, files: Sequence[object]) -> None:
        """See `Place`; it always fails."""
        del files
        raise PermissionError(self.read_only)

    def names(self, folder: str) -> list[str]:
        """See `Place`; it always fails."""
        del folder
        raise PermissionError("a web server has no list of its files")

    def _one(self, wanted: Wanted) -> None:
        address = f"{self._address}/{wanted.name}"
        with self._session.get(
            address, stream=True, timeout=TIMEOUTS, allow_redirects=False
        ) as answer:
            if answer.status_code in ABSENT:
                raise FileNotFoundError(wanted.name)
            if answer.status_code == requests.codes.forbidden:
                raise PermissionError("it answers 403, Forbidden")
            if answer.status_code != requests.codes.ok:
                kind = "a redirect" if answer.is_redirect else f"status {answer.status_code}"
                raise OSError(f"it answers {kind}")
            left = wanted.limit
            with wanted.path.open("xb", buffering=0) as sink:
                for piece in answer.raw.stream(CHUNK, decode_content=False):
                    sink.write(piece[:left])
                    left -= min(left, len(piece))
                    if not left:
                        return
