"""Fakes shared by all tests. Each stands for one seam."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import settings

from toolchain.core.errors import BuildError
from toolchain.core.store import Store
from toolchain.lock import pins

OnLine = Callable[[str], None]

# how long an example takes is the machine's affair: others run beside it
settings.register_profile("house", deadline=None)
settings.load_profile("house")


class FakeBox:
    """A box that records its commands and fails those whose first word is in `failing`."""

    def __init__(self, failing: Mapping[str, str] | None = None) -> None:
        self.calls: list[list[str]] = []
        self.failing = dict(failing or {})

    def call(
        self,
        args: Sequence[str],
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        on_line: OnLine | None = None,
    ) -> str:
        self.calls.append(list(args))
        if args[0] in self.failing:
            raise BuildError(f"{args[0]} failed", detail=self.failing[args[0]])
        return ""


class Mirror:
    """A Debian mirror on this machine: files of a folder, and answers that lie."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.redirect = False
        mirror = self

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                mirror.asked.append(self.path)
                if mirror.redirect:
                    self.send_response(302)
                    self.send_header("Location", "/elsewhere")
                    self.end_headers()
                    return
                super().do_GET()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing: the tests' output is for the tests."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/debian"

    def put(self, path: str, content: bytes) -> None:
        target = self.folder / "debian" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    served = Mirror(tmp_path / "mirror")
    monkeypatch.setenv("EDGEWRIGHT_DEBIAN_MIRROR", served.address)
    yield served
    served.close()


@pytest.fixture
def own_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dist/, results/ and reports/ of the test's own."""
    folder = tmp_path / "output"
    monkeypatch.setenv("EDGEWRIGHT_DIST", str(folder))
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def lock_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lock of the test's own."""
    folder = tmp_path / "lock"
    folder.mkdir()
    monkeypatch.setattr(pins, "FOLDER", folder)
    monkeypatch.setattr(pins, "SOURCES", folder / "sources.toml")
    pins.sources.cache_clear()
    return folder
