"""Where a team's cache may be: folders, web servers, and what does not answer."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.support.shared_caches import (
    INPUTS,
    KEY,
    TAKEN,
    Team,
    build,
    other_bytes,
)
from tests.support.static_server import served
from toolchain.core.errors import UsageError
from toolchain.core.store import digest_of
from toolchain.shared_cache import addresses, shared_store, waiting
from toolchain.shared_cache.folder_place import FolderPlace
from toolchain.shared_cache.place import Sent, Wanted
from toolchain.shared_cache.shared_store import SharedStore


def test_a_file_is_read_no_further_than_its_size(tmp_path: Path) -> None:
    (tmp_path / "ab").mkdir()
    with (tmp_path / "ab" / "cd").open("wb") as stream:
        stream.truncate(1 << 40)
    FolderPlace(tmp_path).fetch([Wanted(name="ab/cd", path=tmp_path / "here", limit=100_000)])
    assert (tmp_path / "here").stat().st_size == 100_000


def test_a_full_or_read_only_folder_is_said_once_and_the_work_is_done(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_self: object, _files: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(FolderPlace, "send", full)
    store = team.machine("one", share=True)
    for number in range(3):
        assert store.get_or_build({**INPUTS, "n": number}, build).fresh
    assert team.said == [
        f"shared cache {team.address}: nothing is given to it: No space left on device"
    ]


def test_a_folder_that_is_not_there_is_said_once(team: Team, shared: Path) -> None:
    shutil.rmtree(shared)
    store = team.machine("one")
    for number in range(3):
        assert store.get_or_build({**INPUTS, "n": number}, build).fresh
    (line,) = team.said
    assert "it is done without from here on: there is no such folder" in line


def test_giving_replaces_no_link_and_leaves_no_part(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "elsewhere").mkdir()
    (shared / "ab").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="a link stands in the way"):
        FolderPlace(shared).send([Sent(name="ab/cd", path=tmp_path / "file")])
    with pytest.raises(FileNotFoundError):
        FolderPlace(shared).send([Sent(name="cd/ef", path=tmp_path / "absent")])
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert [path for path in shared.rglob("*") if path.is_file()] == []


@pytest.fixture
def web(team: Team, shared: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The cache behind a web server; the paths that it is asked for."""
    team.given()
    with served(shared) as (address, asked):
        team.address = f"{address}/"
        monkeypatch.setenv("EDGEWRIGHT_SHARED_CACHE", team.address)
        yield asked


def test_a_web_server_of_the_folder_serves_it(team: Team, web: list[str]) -> None:
    team.built("taker")
    assert team.builds == 0
    assert team.said[0].startswith(TAKEN)
    assert len(web) == 3  # the statement, the wheel, and what stands twice in it
    team.machine("taker").get_or_build({**INPUTS, "n": 1}, build)
    assert len(team.said) == 1


def test_nothing_can_be_given_to_a_web_server(team: Team, web: list[str]) -> None:
    with pytest.raises(UsageError, match="nothing can be given to the shared cache") as caught:
        team.machine("one", share=True)
    assert caught.value.detail == "a web server takes nothing"


def test_an_altered_file_on_a_web_server_is_refused(
    team: Team, shared: Path, web: list[str]
) -> None:
    other_bytes(shared)
    team.built("taker")
    assert "was altered" in team.said[-1]


def closed_port() -> str:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{trial.getsockname()[1]}"


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_cache_that_is_away_takes_two_seconds_in_all(
    team: Team, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for address in (closed_port(), silent):
        monkeypatch.setenv("EDGEWRIGHT_SHARED_CACHE", address)
        team.said.clear()
        store = team.machine(address.rpartition(":")[2])
        # the next task of this process asks nothing either
        again = shared_store.opened(team.said.append)
        assert isinstance(again, SharedStore)
        took = 0.0
        for number in range(20):
            key, into = digest_of(number), team.folder / f"{number}-{address[-5:]}"
            into.mkdir()
            started = time.monotonic()
            assert not (store, again)[number % 2]._team.take(key, "wheel", into, into)
            took += time.monotonic() - started
        assert took < 2
        (line,) = team.said
        assert line.startswith(f"shared cache {address}: it is done without from here on: ")


def test_a_server_that_answers_everything_the_same_is_let_alone(
    team: Team, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does that wants somebody to log in first; and it packs its answer."""
    answer = gzip.compress(bytes(64 << 20))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setenv("EDGEWRIGHT_SHARED_CACHE", address)
        store = team.machine("one")
        for number in range(10):
            assert store.get_or_build({**INPUTS, "n": number}, build).fresh
        server.shutdown()
    assert len(team.said) == 4
    assert team.said[3].endswith("so it was with 3 entries in a row")
    assert all("its statement can't be read" in line for line in team.said[:3])


def test_a_cache_that_is_away_is_waited_for_once_by_all_threads_and_by_who_gives(
    team: Team, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    team.given()
    monkeypatch.setenv("EDGEWRIGHT_SHARED_CACHE", silent)
    monkeypatch.setattr(shared_store, "_refuse_read_only", lambda _: None)
    store = team.machine("giver", share=True)
    entry = store.entry(KEY)
    assert entry is not None

    def ask(number: int) -> None:
        into = team.folder / f"into-{number}"
        into.mkdir()
        if number % 2:
            store._team.give(entry, "wheel", into)
        else:
            store._team.take(digest_of(number), "wheel", into, into)

    started = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(8)))
    assert time.monotonic() - started < 2
    assert len(team.said) == 1


def test_a_password_in_the_address_is_not_printed(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = closed_port().replace("//", "//ann:secret@") + "/x?token=secret"
    monkeypatch.setenv("EDGEWRIGHT_SHARED_CACHE", address)
    team.built("one")
    assert "secret" not in team.said[0]
    assert "127.0.0.1" in team.said[0]


def test_what_comes_forward_is_waited_for_and_what_only_drips_is_not() -> None:
    count = 0

    def slow() -> str:
        nonlocal count
        for _ in range(8):
            time.sleep(0.05)
            count += waiting.ENOUGH
        return "whole"

    assert waiting.waited(slow, lambda: count, patience=0.2) == "whole"
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        waiting.waited(lambda: time.sleep(1), lambda: int(time.monotonic() * 100), patience=0.2)
    assert time.monotonic() - started < 0.5


def test_what_comes_too_slowly_is_given_up_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "EARLY_S", 0.2)
    monkeypatch.setattr(waiting, "LONGEST_S", 2.0)
    started = time.monotonic()

    def arrived() -> int:
        return int((time.monotonic() - started) * 10 * waiting.ENOUGH)

    def work() -> str:
        time.sleep(0.5)
        return "whole"

    assert waiting.waited(work, arrived, patience=1, whole=arrived() + 10 * waiting.ENOUGH)
    with pytest.raises(TimeoutError, match="take too long"):
        waiting.waited(work, arrived, patience=1, whole=100 * waiting.ENOUGH)


ADDRESSES = ("cache", "http://x:y/", "a::s3://b/c", "sftp:///x", "sftp://-oProxyCommand=x/y",
             "sftp://u:password@h/x", 'sftp://h/x"y', "file://host/x", "s3://a\nb")  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_that_leads_nowhere_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="leads nowhere"):
        addresses.place_at(address)


SECRET = ("https://ann:secret@h/x?y=secret", "a::s3://ann:secret@b/c", "sftp://u:se@cret@h/x",
          "http://ann:secret@x:y/")  # fmt: skip


@pytest.mark.parametrize("address", SECRET)
def test_no_form_of_an_address_shows_what_logs_in(address: str) -> None:
    said = addresses.shown(address)
    assert "secret" not in said
    assert "se@cret" not in said
    assert "://" in said


@pytest.mark.parametrize("scheme", ["file://", ""])
def test_a_folder_may_be_named_as_an_address(scheme: str, shared: Path, tmp_path: Path) -> None:
    place = addresses.place_at(f"{scheme}{shared}")
    (tmp_path / "x").touch()
    place.send([Sent(name="ab/cd", path=tmp_path / "x")])
    assert (shared / "ab" / "cd").is_file()


def test_a_bucket_without_its_library_says_which_extra(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWRIGHT_SHARED_CACHE", "s3://bucket/cache")
    for name in ("fsspec", "fsspec.core", "s3fs"):
        monkeypatch.setitem(sys.modules, name, None)
    assert team.built("one").fresh
    assert "invoke setup --extra s3" in team.said[0]
    with pytest.raises(UsageError, match="nothing can be given"):
        team.machine("one", share=True)
