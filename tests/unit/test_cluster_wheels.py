"""Wheels by the workers of a cluster, and built anew there to compare."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support import clusters
from tests.support.clusters import PlayedScheduler, executor, works
from tests.support.shared_caches import Team
from toolchain import targets
from toolchain.cluster import task
from toolchain.cluster.works import wheels_elsewhere
from toolchain.core.errors import EngineError
from toolchain.core.store import Store
from toolchain.targets import Target
from toolchain.wheels import build

A, B = "tcp://a", "tcp://b"


@pytest.fixture
def team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Team:
    return clusters.team(tmp_path, monkeypatch)


@pytest.fixture
def wheels(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Wheels that are built at once; the bytes of each build, in order."""
    made: list[str] = []

    def fill(folder: Path) -> None:
        made.append(f"build {len(made)}")
        (folder / "one-1-py3-none-any.whl").write_text(made[-1])

    def entry(target: Target, name: str, store: Store, **_: object) -> None:
        store.get_or_build(build.inputs(name, target), fill)

    def again(*args: Any, **_: object) -> None:
        fill(args[-1])

    monkeypatch.setattr(build, "inputs", lambda name, _: {"kind": "wheel", "name": name})
    monkeypatch.setattr(build, "entry", entry)
    monkeypatch.setattr(build, "again", again)
    return made


def test_a_wheel_is_built_at_a_worker_once_and_anew_for_each_verification(
    tmp_path: Path, team: Team, wheels: list[str]
) -> None:
    target = targets.target("x86_64")
    with executor(PlayedScheduler({A: works(A)}), team) as pool:
        for _ in range(2):
            wheels_elsewhere.build(["one"], target, pool, pool._store, clusters.silent)
        files = [
            wheels_elsewhere.again(["one"], target, pool, pool._store, clusters.silent)[0]
            for _ in range(2)
        ]
    assert wheels == ["build 0", "build 1", "build 2"]
    assert [file.read_text() for file in files] == ["build 1", "build 2"]
    assert all(file.is_relative_to(tmp_path / "here") for file in files)


def test_a_worker_without_an_engine_is_passed_over(
    team: Team, wheels: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = build.entry
    asked: list[str] = []

    def entry(*args: Any, **options: Any) -> None:
        asked.append("")
        if len(asked) == 1:
            raise EngineError("no Docker engine answers")
        whole(*args, **options)

    monkeypatch.setattr(build, "entry", entry)
    played = PlayedScheduler({A: works(A), B: works(B)})
    lines: list[str] = []
    with executor(played, team) as pool:
        wheels_elsewhere.build(["one"], targets.target("x86_64"), pool, pool._store, lines.append)
    assert wheels == ["build 0"]
    assert f"0 of 1; one: {A} is passed over: no Docker engine answers" in lines


def test_what_a_job_of_nobody_says_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build in a container has no process at the worker that could be killed."""
    wanted = [True]
    monkeypatch.setattr(task, "WATCH_S", 0.001)
    monkeypatch.setattr(task, "_wanted", lambda *_: wanted[0])
    worker = SimpleNamespace(
        get_current_task=lambda: "key", contact_address=A, name="a", log_event=lambda *_: None
    )
    with task._watched(worker) as progress:
        progress("compiling")
        wanted[0] = False
        with pytest.raises(task.Unwanted):
            list(map(progress, itertools.repeat("linking")))
