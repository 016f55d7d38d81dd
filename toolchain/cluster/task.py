"""The worker's side: what Dask calls for each job, and what keeps an eye on it meanwhile.

Nothing of a job passes through the scheduler but a question and an answer of a few lines.
"""

from __future__ import annotations

import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from toolchain.cluster import differences
from toolchain.cluster.messages import BEAT_S, TOPIC, Answer, Beat, Question, Said
from toolchain.cluster.work import Work
from toolchain.cluster.works.compilation_work import CompilationWork
from toolchain.cluster.works.conversion_work import ConversionWork, VariantWork
from toolchain.cluster.works.models_again import ModelAgainWork
from toolchain.cluster.works.wheel_work import WheelAgainWork, WheelWork
from toolchain.core.errors import EdgewrightError, EngineError, NoSpaceError, UsageError
from toolchain.core.store import Store, digest_of
from toolchain.shared_cache import shared_store
from toolchain.shared_cache.shared_store import SharedStore

KINDS: dict[str, type[Work]] = {
    kind.__name__: kind
    for kind in (
        CompilationWork,
        ConversionWork,
        ModelAgainWork,
        VariantWork,
        WheelAgainWork,
        WheelWork,
    )
}
WATCH_S = 0.25


class Unwanted(EdgewrightError):
    """Nobody waits for the job any more."""


class Unfit(EdgewrightError):
    """This worker can't do the job; another one may."""


def run(asked: str) -> str:
    """Do one job.

    Args:
        asked: a `Question`, as JSON.

    Returns:
        an `Answer`, as JSON.
    """
    from distributed import get_worker

    worker = get_worker()
    address = str(worker.contact_address)
    with _watched(worker) as progress:
        return answered(asked, address, progress).model_dump_json()


def answered(asked: str, address: str, progress: Callable[[str], None]) -> Answer:
    """What becomes of a question at this worker, which has an address."""
    try:
        _do(asked, progress)
    except (Unfit, NoSpaceError, EngineError) as error:
        return Answer(worker=address, outcome="unfit", error=_said(error))
    except EdgewrightError as error:
        return Answer(worker=address, outcome="failed", error=_said(error))
    return Answer(worker=address, outcome="made")


def _said(error: EdgewrightError) -> Said:
    return Said(
        kind=type(error).__name__,
        brief=error.brief[:2000],
        detail=error.detail[-20_000:],
        resolution=error.resolution[:20_000],
    )


def _do(asked: str, progress: Callable[[str], None]) -> None:
    try:
        question = Question.model_validate_json(asked)
        kind = KINDS[question.kind]
        work = kind.load(question.work)
    except (ValidationError, KeyError) as error:
        raise Unfit("it has another version of edgewright", detail=str(error)) from error
    lines: list[str] = []
    store = _store(lines.append)
    _check(question, store, lines)
    placed = work.at(_given(question, store, lines))
    _check_key(question, placed)
    placed.make(store, progress)
    if not store.gives:
        raise Unfit("it can give nothing to the shared cache", detail="\n".join(lines))


def _store(say: Callable[[str], None]) -> SharedStore:
    try:
        store: Store = shared_store.opened(say, share=True, jobs=True)
    except UsageError as error:
        raise Unfit(error.brief, detail=error.detail, resolution=error.resolution) from error
    assert isinstance(store, SharedStore)
    return store


def _check(question: Question, store: SharedStore, lines: list[str]) -> None:
    if question.python != platform.python_version():
        raise Unfit(
            f"it has Python {platform.python_version()} rather than {question.python}",
        )
    if not store.gives:
        raise Unfit("it can give nothing to the shared cache", detail="\n".join(lines))


def _check_key(question: Question, placed: Work) -> None:
    """Refuse what would be made under another key: of other code, tools or versions."""
    mine: Mapping[str, object] = placed.inputs()
    if digest_of(mine) != digest_of(question.inputs):
        raise Unfit(
            "it would make something else",
            detail=differences.between(question.inputs, mine),
            resolution="have it run the same version, installed from the same requirements.txt",
        )


def _given(question: Question, store: SharedStore, lines: list[str]) -> Path:
    """The folder of a job's files; of none, one that isn't there."""
    if question.given is None:
        return store.root / "nothing"

    def absent(_folder: Path) -> None:
        raise Unfit(
            "it finds the job's files in no shared cache",
            detail="\n".join(lines),
            resolution="EDGEWRIGHT_SHARED_CACHE must be the same there as here, and its "
            "trusted_keys name the key of this machine",
        )

    return store.get_or_build(question.given, absent).folder


@contextmanager
def _watched(worker: Any) -> Iterator[Callable[[str], None]]:
    """Say what the job in this thread is at, and end its processes when nobody wants it any more.

    Yields:
        a function that takes the step it is at.
    """
    key, thread = str(worker.get_current_task()), threading.get_native_id()
    over, unwanted = threading.Event(), threading.Event()

    def at(line: str) -> None:
        if unwanted.is_set():
            # what a Docker engine does is no process of this one: the block that waits for it ends
            raise Unwanted("nobody waits for the job any more")
        say(line)

    def say(line: str) -> None:
        beat = Beat(
            key=key,
            worker=str(worker.contact_address),
            name=str(worker.name),
            line=line.strip()[:500],
        )
        worker.log_event(TOPIC, beat.model_dump(mode="json"))

    def watch() -> None:
        said = time.monotonic()
        while not over.wait(WATCH_S):
            if not _wanted(worker, key):
                unwanted.set()
                end_children(thread)
            elif time.monotonic() - said > BEAT_S:
                said = time.monotonic()
                say("")

    say("begun")
    watcher = threading.Thread(target=watch, daemon=True, name=f"watch {key}")
    watcher.start()
    try:
        yield at
    finally:
        over.set()
        watcher.join()


def _wanted(worker: Any, key: str) -> bool:
    """Whether someone still waits for a job, and the worker isn't about to end."""
    state = worker.state.tasks.get(key)
    return (
        state is not None
        and state.state == "executing"
        and worker.status.name in ("running", "paused", "init")
    )


def end_children(thread: int) -> None:
    """Kill the processes that a thread of this one has started, with all of theirs."""
    for child in _children(os.getpid(), thread):
        _end(child)


def _end(number: int) -> None:
    started = [
        child
        for of in _threads(number)
        for child in _children(number, of)
    ]  # fmt: skip
    with suppress(ProcessLookupError):
        os.kill(number, signal.SIGKILL)
    for child in started:
        _end(child)


def _threads(number: int) -> list[int]:
    with suppress(OSError):
        return [int(path.name) for path in Path(f"/proc/{number}/task").iterdir()]
    return []


def _children(number: int, thread: int) -> list[int]:
    with suppress(OSError):
        said = Path(f"/proc/{number}/task/{thread}/children").read_text()
        return [int(one) for one in said.split()]
    return []
