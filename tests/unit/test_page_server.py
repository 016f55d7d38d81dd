"""The report's page over HTTP: fresh, of this machine alone, and nothing else beside it."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from toolchain.core.errors import BenchError, UsageError
from toolchain.report.serving.page_server import PageServer, state_of


@contextmanager
def served(server: PageServer) -> Iterator[PageServer]:
    """A server that answers until the block ends."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def got(server: PageServer, path: str = "/", host: str | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    connection.request("GET", path, headers={"Host": host or f"127.0.0.1:{server.server_port}"})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_the_page_is_made_anew_when_a_result_comes_and_never_otherwise(tmp_path: Path) -> None:
    made: list[str] = []

    def make() -> str:
        made.append(f"<body>number {len(made) + 1}</body>")
        return made[-1]

    with served(PageServer(0, lambda: state_of([tmp_path, tmp_path / "gone"]), make)) as server:
        assert server.server_address[0] == "127.0.0.1"
        status, first = got(server)
        assert (status, got(server)[1]) == (200, first)
        assert first.startswith("<body>number 1<script>")
        assert first.endswith("</script>\n</body>")
        _, before = got(server, "/stamp")
        assert before in first
        (tmp_path / "result.json").write_text("{}")
        _, after = got(server, "/stamp")
        assert after != before
        assert "number 2" in got(server)[1]
    assert len(made) == 2


def test_without_results_the_page_says_what_to_do_and_goes_on_asking() -> None:
    def make() -> str:
        raise BenchError("there are <no> results", resolution="run `invoke bench`")

    with served(PageServer(0, lambda: "the same", make)) as server:
        status, text = got(server)
    assert status == 200
    assert "<p>there are &lt;no&gt; results</p>" in text
    assert "invoke bench" in text
    assert "<script>" in text


def test_another_name_and_another_path_get_nothing() -> None:
    with served(PageServer(0, lambda: "", lambda: "the page")) as server:
        assert got(server, host=f"elsewhere.example:{server.server_port}")[0] == 403
        assert got(server, "/../results/a.json")[0] == 404
        status, text = got(server, host=f"localhost:{server.server_port}")
        # of port 80 a browser says no port
        assert got(server, host="localhost")[0] == 200
    assert (status, text[:8]) == (200, "the page")


def test_a_page_that_can_not_be_written_is_said_and_made_when_it_can() -> None:
    failures = [PermissionError(13, "Permission denied", "reports/<x>")]

    def make() -> str:
        if failures:
            raise failures.pop()
        return "the page"

    with served(PageServer(0, lambda: "the same", make)) as server:
        status, text = got(server)
        assert status == 200
        assert "Permission denied: &#x27;reports/&lt;x&gt;&#x27;</p>" in text
        assert "<script>" in text
        assert got(server)[1].startswith("the page")


def test_a_result_that_goes_while_it_is_looked_at_is_none(tmp_path: Path) -> None:
    (tmp_path / "gone.json").symlink_to(tmp_path / "nothing")  # listed, and no file to ask about
    assert state_of([tmp_path]) == state_of([])


def test_a_browser_that_goes_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def gone(_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(BaseHTTPRequestHandler, "end_headers", gone)
    with (
        served(PageServer(0, lambda: "", lambda: "the page")) as server,
        pytest.raises(http.client.RemoteDisconnected),
    ):
        got(server)
    assert capfd.readouterr().err == ""


def test_a_port_that_cannot_be_had_is_refused_with_another() -> None:
    with (
        PageServer(0, lambda: "", lambda: "") as server,
        pytest.raises(UsageError, match="is in use") as caught,
    ):
        PageServer(server.server_port, lambda: "", lambda: "")
    assert "--port 0" in caught.value.resolution
    with pytest.raises(UsageError, match="there is no port 99999"):
        PageServer(99999, lambda: "", lambda: "")
