"""Jobs on a cluster: what is made once, what goes elsewhere, and what ends in a line."""

from __future__ import annotations

import errno
import os
import platform
import shutil
import threading
import time
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import pytest

from tests.support import clusters
from tests.support.clusters import Doubled, PlayedScheduler, executor, job, refuses, works
from tests.support.shared_caches import Team
from toolchain.cluster import (
    cluster_executor,
    differences,
    given_files,
    messages,
    place_of_work,
    scheduler,
    task,
)
from toolchain.cluster.messages import Question
from toolchain.cluster.works.conversion_work import ConversionWork
from toolchain.core.errors import ConnectionFailed, ModelError, UsageError
from toolchain.core.store import Store, digest_of

A, B = "tcp://a", "tcp://b"


@pytest.fixture
def team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Team:
    return clusters.team(tmp_path, monkeypatch)


def doubled(tmp_path: Path, text: str = "ab") -> Doubled:
    (tmp_path / "text").write_text(text)
    return Doubled(file=tmp_path / "text")


def test_a_job_is_made_there_once_and_found_here(tmp_path: Path, team: Team) -> None:
    played = PlayedScheduler({A: works(A)})
    work, lines = doubled(tmp_path), list[str]()
    with executor(played, team) as pool:
        entry = pool.submit(lambda _: pool._store.entry(digest_of(work.inputs())), job(work))
        again = pool.submit(lambda given: given.what, job(work, lines.append))
        found = entry.result()
        assert again.result() == "it"
    assert found.file("twice").read_text() == "abab"
    assert played.asked == [A], "the second was found"
    given = {path.name for path in (tmp_path / "worker" / "entries").glob("*/*")}
    assert digest_of(work.inputs()) in given
    assert len(given) == 2, "the job's file, and what was made of it"


def test_one_that_cannot_do_it_is_passed_over_from_then_on(tmp_path: Path, team: Team) -> None:
    played = PlayedScheduler({A: refuses(A, "it has Python 2.7"), B: works(B)})
    lines: list[str] = []
    with executor(played, team) as pool:
        for number in range(2):
            work = Doubled(file=doubled(tmp_path).file, number=number)
            pool.submit(lambda _: None, job(work, lines.append)).result()
    assert played.asked == [A, B, B]
    assert "tcp://a is passed over: it has Python 2.7" in lines
    assert "begun (b)" in lines, "the worker's name"


def test_the_job_of_one_whose_disk_is_full_is_another_ones(tmp_path: Path, team: Team) -> None:
    def full(_path: Path, _text: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def works_without_space(asked: str) -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(clusters, "_write", full)
            return works(A)(asked)

    played = PlayedScheduler({A: works_without_space, B: works(B)})
    work, lines = doubled(tmp_path), list[str]()
    with executor(played, team) as pool:
        pool.submit(lambda _: None, job(work, lines.append)).result()
    assert played.asked == [A, B]
    assert "tcp://a is passed over: no space left on this machine" in lines
    assert Store(tmp_path / "here").entry(digest_of(work.inputs())) is not None


def test_when_none_is_left_it_ends_and_says_why(tmp_path: Path, team: Team) -> None:
    played = PlayedScheduler({A: refuses(A, "no space left"), B: refuses(B, "it has Python 2.7")})
    with (
        executor(played, team) as pool,
        pytest.raises(ConnectionFailed, match="can do the job") as e,
    ):
        pool.submit(lambda _: None, job(doubled(tmp_path))).result()
    assert e.value.detail.splitlines() == [f"{A}: no space left", f"{B}: it has Python 2.7"]
    assert "--on" in e.value.resolution


def test_an_error_of_the_job_comes_back_as_it_is(tmp_path: Path, team: Team) -> None:
    played = PlayedScheduler({A: works(A), B: works(B)})
    with executor(played, team) as pool, pytest.raises(ModelError, match="it is bad") as raised:
        pool.submit(lambda _: None, job(doubled(tmp_path, "bad"))).result()
    assert raised.value.resolution == "have a good one"
    assert played.asked == [A], "it would fail anywhere"


def test_one_that_says_nothing_any_more_is_left(
    tmp_path: Path, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_executor, "BEAT_S", 0.05)
    monkeypatch.setattr(cluster_executor, "SILENT_S", 3.0)  # the other one may be slow
    hangs = threading.Event()
    played = PlayedScheduler({A: lambda _: str(hangs.wait(30)), B: works(B)})
    with executor(played, team) as pool:
        pool.submit(lambda _: None, job(doubled(tmp_path))).result()
        assert played.asked == [A, B]
        assert played.cancelled == 1
        hangs.set()


def test_a_job_that_waited_in_vain_there_is_not_one_that_says_nothing(
    tmp_path: Path, team: Team
) -> None:
    """A place that does not answer a worker is its error, and no reason to listen on."""

    def raises(_: str) -> str:
        raise TimeoutError("the place does not answer")

    played = PlayedScheduler({A: raises})
    with (
        executor(played, team) as pool,
        pytest.raises(ModelError, match="could not do it") as raised,
    ):
        pool.submit(lambda _: None, job(doubled(tmp_path))).result(timeout=5)
    assert raised.value.detail == "TimeoutError: the place does not answer"
    assert played.asked == [A]
    assert played.cancelled == 0


def test_a_job_that_ends_as_the_wait_for_it_does_is_answered(tmp_path: Path, team: Team) -> None:
    class Late(Future[str]):
        """Is done when who waited for it has given up."""

        def result(self, timeout: float | None = None) -> str:
            if timeout is not None:
                super().result(5)
                raise TimeoutError
            return super().result(5)

    class Scheduler(PlayedScheduler):
        def submit(
            self, asked: str, key: str, workers: list[str] | None, *, heavy: bool
        ) -> Future[str]:
            made = super().submit(asked, key, workers, heavy=heavy)
            late = Late()
            made.add_done_callback(lambda done: late.set_result(done.result()))
            return late

    played = Scheduler({A: works(A)})
    with executor(played, team) as pool:
        pool.submit(lambda _: None, job(doubled(tmp_path))).result(timeout=10)
    assert played.asked == [A]


def test_while_files_are_given_others_are_answered(
    tmp_path: Path, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, begun, keep = threading.Event(), threading.Event(), given_files.keep

    def slow(*args: Any) -> dict[str, object]:
        begun.set()
        assert given.wait(30)
        return keep(*args)

    monkeypatch.setattr(given_files, "keep", slow)
    with executor(PlayedScheduler({A: works(A)}), team) as pool:
        large = pool.submit(lambda _: None, job(doubled(tmp_path)))
        assert begun.wait(5)
        try:
            pool.submit(lambda _: None, job(clusters.Counted(number=3))).result(timeout=5)
            assert not large.done()
        finally:
            given.set()
        large.result(timeout=5)


def test_files_are_named_by_the_bytes_that_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another job may write one anew at any time."""
    file, copy = doubled(tmp_path).file, shutil.copyfile

    def written_anew(path: Path, to: Path) -> Path:
        path.write_text("newer")
        return copy(path, to)

    monkeypatch.setattr(shutil, "copyfile", written_anew)
    store = Store(tmp_path / "store")
    inputs = given_files.keep({"of/text": file}, store)
    entry = store.entry(digest_of(inputs))
    assert entry is not None
    assert entry.file("of/text").read_text() == "newer"
    assert inputs["files"] == entry.files


def test_what_is_interrupted_is_ended_there(tmp_path: Path, team: Team) -> None:
    hangs = threading.Event()

    class Ends(PlayedScheduler):
        def cancel(self, futures: list[Any]) -> None:
            super().cancel(futures)
            hangs.set()

    def killed(_: str) -> str:
        hangs.wait(30)
        raise CancelledError

    played = Ends({A: killed})
    pool = executor(played, team)
    future = pool.submit(lambda _: None, job(doubled(tmp_path)))
    while not played.asked:
        time.sleep(0.01)
    pool.__exit__(KeyboardInterrupt, None, None)
    assert played.cancelled == 1
    with pytest.raises(CancelledError):
        future.result()


def test_what_is_not_signed_as_it_is_there_is_not_taken(
    tmp_path: Path, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(asked: str) -> str:
        answer = works(A)(asked)
        for path in (tmp_path / "shared" / "entries").glob("*/*"):
            path.write_bytes(path.read_bytes().replace(b"twice", b"twixe"))
        return answer

    with executor(PlayedScheduler({A: elsewhere}), team) as pool:
        future = pool.submit(lambda _: None, job(doubled(tmp_path)))
        with pytest.raises(ConnectionFailed, match="can't be taken") as raised:
            future.result()
    assert "trusted_keys" in raised.value.resolution
    assert not list((tmp_path / "here" / "entries").glob("*/*/twice"))


def question(work: Doubled, changed: dict[str, Any] | None = None) -> str:
    asked = Question(
        kind="Doubled",
        work=work.dump(),
        inputs=dict(work.inputs()),
        given=None,
        python=platform.python_version(),
    )
    return asked.model_copy(update=changed or {}).model_dump_json()


def test_a_worker_of_another_version_says_what_differs(tmp_path: Path, team: Team) -> None:
    asked = question(doubled(tmp_path))
    answer = task.answered(clusters.of_another_python(asked), A, clusters.silent)
    assert answer.outcome == "unfit"
    assert answer.error is not None
    assert answer.error.brief.endswith("rather than 2.7.18")
    for kind in ("Halved", "Doubled"):
        fields = {"kind": kind, **({} if kind == "Halved" else {"work": {"nothing": 1}})}
        answer = task.answered(question(doubled(tmp_path), fields), A, clusters.silent)
        assert answer.error is not None
        assert answer.error.brief == "it has another version of edgewright"


def test_a_scheduler_is_not_asked_by_each_job_of_all_its_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it says is as long as there are workers, and a matrix has thousands of jobs."""
    now, asked = [100.0], list[float]()
    able = {"nthreads": 2, "resources": {messages.JOBS: 2.0}}

    class Client:
        def __init__(self, *_: object, **__: object) -> None:
            self.status = "running"

        def scheduler_info(self) -> dict[str, Any]:
            asked.append(now[0])
            return {"workers": {A: able, B: {"nthreads": 2, "resources": {}}}}

    monkeypatch.setattr(scheduler, "_client", Client)
    monkeypatch.setattr("toolchain.workstation.extras.python", lambda _: Path())
    for step in ("_refuse_other_version", "_prepare_workers"):
        monkeypatch.setattr(scheduler.Scheduler, step, lambda _: None)
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    one = scheduler.Scheduler("tcp://scheduler:8786")
    for step_s in (0.0, 0.5, 0.9):
        now[0] = 100 + step_s
        assert one.workers() == {A: 2}, "the other one can't import our code"
    assert asked == [100.0]
    now[0] = 101.0
    assert one.workers() == {A: 2}
    assert asked == [100.0, 101.0]


def test_keys_that_differ_are_told_apart_by_name() -> None:
    here = {"recipe": {"tools": {"apache-tvm": "0.27", "numpy": "2.4"}}, "batch": 1}
    there = {"recipe": {"tools": {"apache-tvm": "0.26", "numpy": "2.4"}}, "batch": 1}
    assert differences.between(here, there) == "recipe.tools.apache-tvm: 0.26 there, 0.27 here"
    many = {str(number): number for number in range(20)}
    assert differences.between(many, {}).splitlines()[-1] == "and 14 more"


def test_a_users_model_goes_with_all_its_files_and_keeps_its_key(tmp_path: Path) -> None:
    work = clusters.network(tmp_path / "mine.onnx")
    assert work.files() == {"model/mine.onnx": tmp_path / "mine.onnx"}
    there = ConversionWork.load(work.dump()).at(tmp_path / "there")
    assert there.spec.path == tmp_path / "there" / "model" / "mine.onnx"
    assert there.inputs() == work.inputs()


def test_without_a_shared_cache_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEWRIGHT_SHARED_CACHE", raising=False)
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://scheduler:8786")
    with (
        pytest.raises(UsageError, match="no shared cache"),
        place_of_work.opened("", pytest.fail, pytest.fail, share=False),
    ):
        pass
