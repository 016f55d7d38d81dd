"""A page over HTTP on this machine alone, made anew when what it is made of has changed.

The page asks every other second whether there is another; nothing is made while nobody looks. It
knows nothing of reports.
"""

from __future__ import annotations

import contextlib
import errno
import html
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from toolchain.core.errors import EdgewrightError, UsageError
from toolchain.core.store import digest_of

ADDRESS = "127.0.0.1"
LARGEST_PORT = 65535
STAMP = "/stamp"
HTML, TEXT = "text/html; charset=utf-8", "text/plain; charset=utf-8"
FRESH = """<script>
let seen = "%s";
const asking = setInterval(async () => {
  try {
    const now = await (await fetch("/stamp")).text();
    if (now === seen) return;
    clearInterval(asking);  // a page that takes long to make is asked for once
    location.reload();
  } catch { /* the server has ended; the page stays as it is */ }
}, 2000);
</script>
"""


def state_of(folders: Iterable[Path]) -> str:
    """What changes when a JSON file of some folders comes, goes or is written anew."""
    found = []
    for path in (path for folder in folders for path in sorted(folder.glob("*.json"))):
        with contextlib.suppress(FileNotFoundError):  # it was removed just now
            state = path.stat()
            found.append((str(path), state.st_mtime_ns, state.st_size))
    return digest_of(found)


class PageServer(ThreadingHTTPServer):
    """Serves one page at http://127.0.0.1:PORT/ until it is shut down.

    Args:
        port: 0 takes one that is free.
        state: of what the page is made of; another one has it made anew.
        make: the page, as HTML; an error of ours becomes a page that says it.

    Raises:
        UsageError: the port can't be had.
    """

    daemon_threads = True

    def __init__(self, port: int, state: Callable[[], str], make: Callable[[], str]) -> None:
        if port > LARGEST_PORT:
            raise UsageError(f"there is no port {port}", resolution=f"--port 1 to {LARGEST_PORT}")
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            raise UsageError(
                f"port {port} {'is in use' if taken else 'can not be used'}",
                detail=str(error),
                resolution="take another, or any that is free: --port 0",
            ) from error
        self._state, self._make = state, make
        self._made: tuple[str, str] | None = None
        self._making = threading.Lock()

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return f"http://{ADDRESS}:{self.server_port}/"

    def state(self) -> str:
        """What the page would be made of now."""
        return self._state()

    def page(self) -> str:
        """The page as it is now, which asks for the next one by itself."""
        with self._making:
            now = self._state()
            if self._made is None or self._made[0] != now:
                try:
                    text = self._make()
                except EdgewrightError as error:
                    text = _page_of(error.brief, error.detail, error.resolution)
                except OSError as error:
                    # it is not kept: what it is made of need not change until it can be made
                    return f"{_page_of(str(error))}{FRESH % now}"
                self._made = (now, text)
            head, body, rest = self._made[1].rpartition("</body>")
            return f"{head or rest}{FRESH % now}{f'{body}{rest}' if body else ''}"


def _page_of(*lines: str) -> str:
    """A page that says an error."""
    return "".join(f"<p>{html.escape(line)}</p>\n" for line in lines if line)


class _Handler(BaseHTTPRequestHandler):
    server: PageServer

    def do_GET(self) -> None:
        """Answer with the page, or with the state that it was made of."""
        # a site elsewhere may have its own name point here, and would read what is answered to it
        if self.headers.get("Host", "").partition(":")[0] not in (ADDRESS, "localhost"):
            self.send_error(HTTPStatus.FORBIDDEN)
        elif self.path == "/":
            self._answer(HTML, self.server.page())
        elif self.path == STAMP:
            self._answer(TEXT, self.server.state())
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _answer(self, kind: str, text: str) -> None:
        content = text.encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        with contextlib.suppress(ConnectionError):  # the browser asks for something newer
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base's name)
        """Say nothing: the page asks every other second."""
