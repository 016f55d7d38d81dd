"""What a process that is gone left behind is cleared away, and nothing of one that lives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from toolchain.commandline import console
from toolchain.core import paths, process
from toolchain.core.errors import EngineError
from toolchain.images import container_mark, engine
from toolchain.workstation import leftovers

# Holds a folder of the store, one of a worker and a staged bundle, until it is ended.
HOLDS = """
import signal, sys, tempfile, time
from pathlib import Path
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
from toolchain.core import paths, process
from toolchain.core.store import Store
with Store().scratch() as one:
    two = tempfile.mkdtemp(prefix=f"edgewright-{process.own_name()}-")
    beside = paths.dist() / "bundles" / "t"
    beside.mkdir(parents=True, exist_ok=True)
    three = tempfile.mkdtemp(prefix=f".{process.own_name()}-", dir=beside)
    for folder in (one, two, three):
        Path(folder, "in").mkdir()
        Path(folder, "in", "file").write_text("x")
    print(one, two, three, sep="\\n", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache, a dist/ and a temporary folder of the test's own."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    for name, folder in {
        "EDGEWRIGHT_CACHE": tmp_path / "cache",
        "EDGEWRIGHT_DIST": tmp_path / "output",
        "TMPDIR": temporary,
    }.items():
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield tmp_path
    tempfile.tempdir = None


@contextmanager
def holding() -> Iterator[tuple[subprocess.Popen[str], list[Path]]]:
    """A process that has temporary folders, and which."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS], stdout=subprocess.PIPE, text=True, cwd=paths.ROOT
    ) as process:
        assert process.stdout is not None
        try:
            yield process, [Path(process.stdout.readline().strip()) for _ in range(3)]
        finally:
            process.kill()


def swept() -> None:
    clearing = leftovers.sweep()
    if clearing is not None:
        clearing.join(20)


@pytest.mark.parametrize("end", [signal.SIGHUP, signal.SIGKILL])
def test_what_a_process_that_was_ended_leaves_goes_at_the_next_start(end: signal.Signals) -> None:
    with holding() as (process, folders):
        process.send_signal(end)
        process.wait(20)
        assert all(folder.is_dir() for folder in folders)
        swept()
    assert not any(folder.exists() for folder in folders)


def test_nothing_of_a_living_process_is_touched_whoever_else_ends() -> None:
    with holding() as (_, kept), holding() as (other, gone):
        other.kill()
        other.wait(20)
        swept()
        assert all((folder / "in" / "file").is_file() for folder in kept)
        assert not any(folder.exists() for folder in gone)


def test_a_process_with_the_same_id_is_not_the_owner() -> None:
    place, number, started = process.own_name().split(".")
    assert not process.is_gone(f"{process.own_name()}-x")
    assert process.is_gone(f"{place}.{number}.{int(started) + 1}-x")
    assert process.is_gone(f"{place}.{number}.{int(started) - 1}-x")


@pytest.mark.parametrize(
    "name",
    [
        "tmpabc",
        "edgewright-abc",
        "000000.1.2-x",
        "",
        "x.1.2-x",
        "{place}.4194305.0-x",
        "{place}.1.",
    ],
)
def test_what_has_no_owner_that_can_be_seen_from_here_stays(name: str) -> None:
    place = process.own_name().partition(".")[0]
    assert not process.is_gone(name.format(place=place))


def test_two_starts_at_once_clear_the_same(places: Path) -> None:
    with holding() as (process, folders):
        process.kill()
        process.wait(20)
    first, second = leftovers.sweep(), leftovers.sweep()
    for clearing in (first, second):
        if clearing is not None:
            clearing.join(20)
    assert not any(folder.exists() for folder in folders)
    assert list(leftovers.left()) == []


def test_a_link_that_has_such_a_name_leads_nowhere(places: Path) -> None:
    kept = places / "a user's"
    kept.mkdir()
    (kept / "file").write_text("x")
    place = process.own_name().partition(".")[0]
    scratch = places / "cache" / "tmp"
    scratch.mkdir(parents=True)
    (scratch / f"{place}.4194305.7-x").symlink_to(kept)
    (scratch / f"{place}.4194305.7-y").mkdir()
    (scratch / f"{place}.4194305.7-y" / "link").symlink_to(kept)
    swept()
    assert (kept / "file").is_file()
    assert list(scratch.iterdir()) == []


def test_what_another_user_made_stays(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with holding() as (process, folders):
        process.kill()
        process.wait(20)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    swept()
    assert all(folder.is_dir() for folder in folders)


class FakeEngine:
    """An engine that is asked to remove what some processes left."""

    answers = True
    asked: list[str]

    def __init__(self) -> None:
        if not self.answers:
            raise EngineError("no Docker engine answers")

    def remove_builds(self, is_left: Callable[[str], bool]) -> None:
        place = process.own_name().partition(".")[0]
        every = (process.own_name(), f"{place}.4194305.7", f"{place}.4194305.8", "1234", "")
        type(self).asked += [owner for owner in every if is_left(owner)]


@pytest.mark.parametrize("answers", [True, False])
def test_containers_go_before_their_scratch_and_an_engine_is_asked_only_then(
    places: Path, monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    monkeypatch.setattr(FakeEngine, "answers", answers)
    monkeypatch.setattr(FakeEngine, "asked", [], raising=False)
    monkeypatch.setattr(engine, "Engine", FakeEngine)
    place = process.own_name().partition(".")[0]
    scratch = places / "cache" / "tmp"
    (scratch / f"{place}.4194305.7-x").mkdir(parents=True)
    swept()
    assert FakeEngine.asked == []
    (scratch / f"{place}.4194305.7-x").mkdir()
    (scratch / f"{place}.4194305.7-container-x").touch()
    swept()
    # not those of another process that is gone, or can't be seen, whose mark is not here
    assert FakeEngine.asked == [f"{place}.4194305.7"] * answers
    assert (list(scratch.iterdir()) == []) == answers


def test_a_container_has_its_mark_until_it_is_removed(places: Path) -> None:
    scratch = places / "cache" / "tmp"
    with container_mark.kept():
        assert [process.OWNED.match(p.name) is not None for p in scratch.iterdir()] == [True]
    assert list(scratch.iterdir()) == []
    with pytest.raises(ValueError, match="a step"), container_mark.kept():
        raise ValueError("a step failed")
    assert list(scratch.iterdir()) == []
    with pytest.raises(EngineError), container_mark.kept():
        raise EngineError("lost the Docker engine")
    assert len(list(scratch.iterdir())) == 1


def test_looking_for_what_is_left_is_quick(places: Path) -> None:
    scratch = places / "cache" / "tmp"
    scratch.mkdir(parents=True)
    for number in range(100):
        (scratch / f"{process.own_name()}-{number}").mkdir()
    least = 1.0
    for _ in range(5):
        began = time.perf_counter()
        assert leftovers.sweep() is None
        least = min(least, time.perf_counter() - began)
    assert least < 0.02


def test_it_is_done_once_by_the_first_task(monkeypatch: pytest.MonkeyPatch) -> None:
    import tasks  # noqa: F401  # says what is done

    assert console.at_start is leftovers.sweep
    seen: list[int] = []
    monkeypatch.setattr(console, "at_start", lambda: seen.append(1))
    console._begin.cache_clear()
    task = console.guarded(lambda: None)
    task()
    task()
    assert seen == [1]
    console._begin.cache_clear()


def test_a_process_may_have_any_name() -> None:
    """The kernel says it as bytes, in parentheses that it may have itself."""
    renames = "open('/proc/self/comm', 'wb').write(b') S 1 \\xff('); import sys; sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", renames], stdin=subprocess.PIPE) as named:
        deadline = time.monotonic() + 20
        while b"\xff" not in Path(f"/proc/{named.pid}/comm").read_bytes():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        place = process.own_name().partition(".")[0]
        started = process._started(named.pid)
        assert not process.is_gone(f"{place}.{named.pid}.{started}-x")
        named.communicate()
    assert process.is_gone(f"{place}.{named.pid}.{started}-x")


def test_a_folder_that_is_too_deep_to_remove_keeps_no_other_from_going(places: Path) -> None:
    place = process.own_name().partition(".")[0]
    scratch = places / "cache" / "tmp"
    for name in ("a", "b"):
        (scratch / f"{place}.4194305.7-{name}").mkdir(parents=True)
    here = os.open(scratch / f"{place}.4194305.7-a", os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)  # no path is as long
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    swept()
    assert [path.name[-1] for path in scratch.iterdir()] == ["a"]
    subprocess.run(["rm", "-rf", *scratch.iterdir()], check=True)
