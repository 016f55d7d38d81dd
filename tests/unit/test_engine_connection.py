"""Which engine is meant: DOCKER_HOST, a context, the usual socket."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import pytest

from toolchain.core.errors import EngineError
from toolchain.images import engine_connection

USUAL = "unix:///var/run/docker.sock"


@pytest.fixture(autouse=True)
def no_engine_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    for variable in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY"):
        monkeypatch.delenv(variable, raising=False)


def context(folder: Path, name: str, host: str) -> Path:
    """A context, as `docker context create` writes it."""
    path = folder / "contexts" / "meta" / sha256(name.encode()).hexdigest() / "meta.json"
    path.parent.mkdir(parents=True)
    endpoints = {"docker": {"Host": host, "SkipTLSVerify": False}}
    path.write_text(json.dumps({"Name": name, "Metadata": {}, "Endpoints": endpoints}))
    return path


def test_without_a_word_it_is_the_usual_socket() -> None:
    assert engine_connection.address() == USUAL


def test_a_context_names_an_engine_and_docker_host_goes_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context(tmp_path, "far", "ssh://builder")
    context(tmp_path, "farther", "ssh://other")
    (tmp_path / "config.json").write_text(json.dumps({"currentContext": "far"}))
    assert engine_connection.address() == "ssh://builder"
    monkeypatch.setenv("DOCKER_CONTEXT", "farther")
    assert engine_connection.address() == "ssh://other"
    monkeypatch.setenv("DOCKER_HOST", "ssh://third")
    assert engine_connection.address() == "ssh://third"


def test_a_context_that_is_not_there_is_not_the_engine_of_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "far")
    with pytest.raises(EngineError, match="no Docker context far"):
        engine_connection.connect()


def test_a_context_that_can_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context(tmp_path, "far", "ssh://builder").write_text("{")
    monkeypatch.setenv("DOCKER_CONTEXT", "far")
    with pytest.raises(EngineError, match="context far can't be read"):
        engine_connection.connect()


def test_an_engine_that_does_not_answer_is_named_with_what_to_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://me@127.0.0.1:1")
    with pytest.raises(EngineError, match=r"at ssh://me@127\.0\.0\.1:1") as caught:
        engine_connection.connect()
    assert "ssh -p 1 me@127.0.0.1 docker version" in caught.value.resolution


@pytest.mark.parametrize(
    ("place", "name", "kernel", "shared"),
    [
        (USUAL, "here", "6.1", True),
        # a socket that is forwarded, or mounted in a container
        (USUAL, "builder", "6.1", False),
        (USUAL, "here", "6.12", False),
        ("tcp://127.0.0.1:2375", "here", "6.1", True),
        ("tcp://builder:2375", "here", "6.1", False),
        ("ssh://127.0.0.1", "here", "6.1", False),
    ],
)
def test_folders_are_shared_with_an_engine_of_this_machine_alone(
    place: str, name: str, kernel: str, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", place)
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(nodename="here", release="6.1"))
    client = SimpleNamespace(info=lambda: {"Name": name, "KernelVersion": kernel})
    assert engine_connection.shares_files(client) is shared
