"""What a reader of untrusted files can't reach, and what it can."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.confined_jobs import (
    ALLOWED,
    ATTEMPT,
    DONE,
    OF_ROOT,
    SIGNALLING,
    VARIABLES,
    Attempts,
)
from tests.support.worker_jobs import DOUBLE, Doubling
from toolchain.core import confinement, worker
from toolchain.core.confinement import Rights

needs_landlock = pytest.mark.skipif(
    bool(confinement.lacking()), reason=f"nothing confines here: {confinement.lacking()}"
)


@pytest.fixture
def attempts(tmp_path: Path) -> Iterator[Attempts]:
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    secret, given = tmp_path / "home" / ".ssh" / "id_ed25519", tmp_path / "home" / "net.onnx"
    secret.write_text("secret")
    given.write_text("given")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        yield Attempts(secret=secret, given=given, folder=tmp_path / "out", port=port)


@needs_landlock
def test_a_confined_job_reaches_what_it_is_given_and_nothing_else(attempts: Attempts) -> None:
    rights = Rights(read=(attempts.given,), write=(attempts.folder,))
    found = worker.call(ATTEMPT, attempts, what="trying", rights=rights)
    assert {name for name, came in found.items() if came == DONE} == ALLOWED.keys() | (
        SIGNALLING.keys() if confinement._landlock_version() < 6 else set()
    )
    assert attempts.secret.read_text() == "secret"
    assert sorted(p.name for p in attempts.folder.iterdir()) == ["renamed"]


def test_variables_that_may_be_secrets_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "EDGEWRIGHT_PYPI_INDEX", "MY_PATH"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("EDGEWRIGHT_READABLE", "/nowhere")
    found = worker.call(VARIABLES, True, what="looking", rights=Rights())
    assert {name for name in found if not worker.PASSED.fullmatch(name)} <= {""}
    assert {"PATH", "EDGEWRIGHT_READABLE", "PYTHONHASHSEED"} <= set(found)
    assert "GITHUB_TOKEN" in worker.call(VARIABLES, True, what="looking")


@needs_landlock
@pytest.mark.parametrize("version", [1, 2, 4])
def test_an_older_kernel_refuses_as_much_but_for_signals(attempts: Attempts, version: int) -> None:
    own = Attempts(**{**vars(attempts), "version": version})
    found = worker.call(ATTEMPT, own, what="trying")
    done = {name for name, came in found.items() if came == DONE}
    assert done == ALLOWED.keys() | SIGNALLING.keys()


def test_each_of_these_works_in_a_job_that_is_not_confined(attempts: Attempts) -> None:
    """So none of them is refused for another reason."""
    found = worker.call(ATTEMPT, attempts, what="trying")
    failed = {name for name, came in found.items() if came != DONE}
    assert failed == (set() if os.getuid() == 0 else {OF_ROOT})


def test_a_machine_that_confines_nothing_is_told_of_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(confinement, "lacking", lambda: "its kernel has no Landlock")
    worker._unconfined.cache_clear()
    for once in (1, 2):
        answer = worker.call(DOUBLE, Doubling(once=once), what="doubling", rights=Rights())
        assert answer.twice == 2 * once
    worker._unconfined.cache_clear()
    told = capsys.readouterr().err.strip().splitlines()
    assert told == [
        "model files are read with all of your rights on this machine: its kernel has no Landlock"
    ]
