"""A page in headless Chromium, which asks for files and sends back what it finds."""

from __future__ import annotations

import http.server
import os
import re
import secrets
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from toolchain.core import process
from toolchain.core.errors import CommandError, ModelError

NAMES = ("chromium", "chromium-browser", "google-chrome")
LONGEST = 1 << 30  # bytes that a page may send in all
LINE = 1000
# what it gets of this process's environment: no secret of the user's
PASSED = re.compile(r"PATH|HOME|LANG|LC_.*|TMPDIR|XDG_RUNTIME_DIR")
DONE, FAILED = "edgewright: done", "edgewright: failed"
QUIET = (
    *("--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--enable-logging=stderr"),
)
TYPES = {".html": "text/html", ".js": "text/javascript", ".json": "application/json"}


def program() -> str | None:
    """The browser of this machine; None where there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def browse(files: Mapping[str, Path | bytes], page: str, limit: int) -> dict[str, bytes]:
    """Open a page, and wait until it says in its console that it is done.

    Args:
        files: what it may ask for, by its path: files, folders of them, or bytes.
        page: the path of the page.
        limit: seconds.

    Returns:
        what it sent, by the path that it was sent to.

    Raises:
        ModelError: there is no browser, or the page did not come to its end.
    """
    browser = program()
    if browser is None:
        raise ModelError("Chromium is not installed", resolution="apt-get install chromium")
    with _serving(files) as (address, sent), _profile() as profile:
        command = ["timeout", "-k", "5", str(limit), browser, *QUIET, f"--user-data-dir={profile}"]
        # its own sandbox is nothing that it can set up as root, in whose name nobody browses
        command += ["--no-sandbox"] if os.geteuid() == 0 else []
        said: list[str] = []

        def listen(line: str) -> None:
            if "CONSOLE" in line:
                said.append(line)
            if DONE in line:
                raise _DoneError
            if FAILED in line:
                raise ModelError("the page failed in the browser", detail=line[:LINE])

        try:
            process.run([*command, f"{address}{page}"], passed=PASSED, on_line=listen)
        except _DoneError:
            return sent
        except CommandError as error:
            said.append(error.output)
    raise ModelError(
        f"the page did not come to its end in the browser within {limit} s",
        detail="\n".join(said)[-4000:],
    )


def _profile() -> tempfile.TemporaryDirectory[str]:
    """A folder of the browser's own; a process of its that ends late may still write there."""
    return tempfile.TemporaryDirectory(ignore_cleanup_errors=True)


class _DoneError(Exception):
    """The page has said all."""


class _Server(http.server.ThreadingHTTPServer):
    """One that says nothing of links that a browser ends."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def _serving(files: Mapping[str, Path | bytes]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """A server on 127.0.0.1 under a path that nobody else knows."""
    sent: dict[str, bytes] = {}
    lock = threading.Lock()
    root = f"/{secrets.token_urlsafe()}/"

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            content = _content(files, self.path.removeprefix(root))
            if content is None or not self.path.startswith(root):
                self.send_error(404)
                return
            self.send_response(200)
            kind = TYPES.get(Path(self.path).suffix, "application/octet-stream")
            self.send_header("Content-Type", "application/wasm" if ".wasm" in self.path else kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length", 0))
            with lock:
                room = LONGEST - sum(map(len, sent.values()))
                if not self.path.startswith(root) or not 0 <= size <= room:
                    self.send_error(404)
                    return
                sent[self.path.removeprefix(root)] = self.rfile.read(size)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{root}", sent
    finally:
        server.shutdown()
        server.server_close()


def _content(files: Mapping[str, Path | bytes], path: str) -> bytes | None:
    """What is under a path: of `files`, or a file within a folder of it."""
    if path in files:
        found = files[path]
        return found if isinstance(found, bytes) else found.read_bytes()
    name, _, rest = path.partition("/")
    folder = files.get(name)
    if isinstance(folder, Path) and rest and "/" not in rest and rest != "..":
        with suppress(OSError):
            return (folder / rest).read_bytes()
    return None
