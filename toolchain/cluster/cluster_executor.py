"""An executor of `concurrent.futures` whose jobs are done by the workers of a cluster.

A function is called here, with the work that its argument names done before: looked up in the
store and the team's cache, or made by a worker and taken from there. So it is what it is under an
executor of threads, which finds nothing made and does the work itself.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, Self

from pydantic import ValidationError

from toolchain.cluster import given_files
from toolchain.cluster.messages import BEAT_S, Answer, Beat, Question, Said
from toolchain.cluster.work import Job
from toolchain.core import errors
from toolchain.core.errors import ConnectionFailed, EdgewrightError, ModelError
from toolchain.core.store import digest_of
from toolchain.shared_cache.shared_store import SharedStore

SILENT_S = 6 * BEAT_S  # a worker that says nothing for so long hangs
LEAST_AT_ONCE = 16


class Asked(Protocol):
    """What an executor needs of a scheduler; see `scheduler.Scheduler`."""

    address: str

    @property
    def running(self) -> bool:
        """Whether it is still there."""

    def workers(self) -> dict[str, int]:
        """The threads of each worker that can be given a job."""

    def submit(self, asked: str, key: str, workers: list[str] | None, *, heavy: bool) -> Any:
        """Send a job."""

    def listen(self, heard: Callable[[Any], None]) -> None:
        """Hear what workers say."""

    def cancel(self, futures: list[Any]) -> None:
        """End jobs."""

    def close(self) -> None:
        """End the connection."""


class Waiting:
    """A job that was sent: when its worker last said something, which it is, and who is told."""

    def __init__(self, progress: Callable[[str], None]) -> None:
        self.progress = progress
        self.heard = 0.0
        self.worker = ""


class ClusterExecutor(Executor):
    """Sends the work of jobs to a cluster.

    Args:
        scheduler: of the cluster; closed with this.
        store: this machine's, which takes what workers made.
        giver: gives the files of jobs to the team's cache.
    """

    def __init__(self, scheduler: Asked, store: SharedStore, giver: SharedStore) -> None:
        self._scheduler, self._store, self._giver = scheduler, store, giver
        many = max(LEAST_AT_ONCE, 2 * sum(scheduler.workers().values()))
        self._threads = ThreadPoolExecutor(many)
        # what is done here with what workers made: no more at once than there are cores
        self._here = threading.Semaphore(len(os.sched_getaffinity(0)))
        self._lock = threading.Lock()
        self._giving = threading.Lock()
        self._unfit: dict[str, Said] = {}
        self._waiting: dict[str, Waiting] = {}
        self._sent: dict[str, Any] = {}
        self._given: dict[tuple[Path, ...], dict[str, object]] = {}
        self._ended = False
        scheduler.listen(self._hear)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call a function with a `Job`, the first of its arguments, when its work is done."""

        def done() -> Any:
            self._make(args[0])
            with self._here:
                return fn(*args, **kwargs)

        return self._threads.submit(done)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As `Executor.shutdown`; jobs that are cancelled end where they are."""
        if cancel_futures:
            self._ended = True
            with self._lock:
                sent = list(self._sent.values())
            self._scheduler.cancel(sent)
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        """End: what is still to be done is ended where it is when the block failed."""
        self.shutdown(wait=True, cancel_futures=kind is not None)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def _make(self, job: Job[Any]) -> None:
        """Have a job's entry in the store."""
        inputs = job.work.inputs()

        def elsewhere(folder: Path) -> None:
            worker = self._ask(job, inputs)
            if not self._store.take(inputs, folder):
                raise ConnectionFailed(
                    f"what {worker} made can't be taken from the shared cache",
                    resolution="trusted_keys here must name the key of that worker, and "
                    "EDGEWRIGHT_SHARED_CACHE be the same there as here",
                )

        self._store.get_or_build(inputs, elsewhere)

    def _ask(self, job: Job[Any], inputs: Mapping[str, object]) -> str:
        """Have a worker make what some inputs say, and give it; its address."""
        question = Question(
            kind=type(job.work).__name__,
            work=job.work.dump(),
            inputs=dict(inputs),
            given=self._give(job),
            python=platform.python_version(),
        ).model_dump_json()
        attempt = 0
        while True:
            key = f"edgewright-{inputs.get('step', 'job')}-{digest_of(inputs)[:32]}-{attempt}"
            answer = self._answer(question, key, job)
            attempt += 1
            if answer is None:
                continue
            if answer.outcome == "made":
                return answer.worker
            said = answer.error or Said(kind="ModelError", brief="it said nothing")
            if answer.outcome == "failed":
                raise _raised(said)
            self._unfit[answer.worker] = said
            job.progress(f"{answer.worker} is passed over: {said.brief}")

    def _give(self, job: Job[Any]) -> dict[str, object] | None:
        """The inputs of the entry of a job's files, which the team's cache has from here on."""
        files = job.work.files()
        if not files:
            return None
        # several jobs read the same; answers are heard meanwhile
        with self._giving:
            known = tuple(files.values())
            if known not in self._given:
                inputs = given_files.keep(files, self._giver)
                if not self._giver.gives:
                    raise ConnectionFailed(
                        "the files of the job can't be given to the shared cache",
                        resolution="it says why above; EDGEWRIGHT_SHARED_CACHE names it",
                    )
                self._given[known] = inputs
            return self._given[known]

    def _answer(self, question: str, key: str, job: Job[Any]) -> Answer | None:
        """What a worker answers; None when it must be asked of another one."""
        allowed = self._fit()
        waiting = Waiting(job.progress)
        with self._lock:
            if self._ended:
                raise CancelledError
            self._waiting[key] = waiting
            future = self._scheduler.submit(question, key, allowed, heavy=job.work.heavy)
            self._sent[key] = future
        if not (allowed or self._scheduler.workers()):
            address = self._scheduler.address
            job.progress(f"waiting for a worker: {address} has none that can do it yet")
        try:
            while True:
                try:
                    return Answer.model_validate_json(future.result(timeout=BEAT_S))
                except TimeoutError:
                    if future.done():
                        # it ended just now, or that is what the job raised there
                        return Answer.model_validate_json(future.result())
                    if self._hangs(waiting) or self._stranded(waiting, allowed):
                        self._scheduler.cancel([future])
                        return None
        except ValidationError as error:
            raise ModelError("a worker answered nonsense", detail=str(error)) from error
        except EdgewrightError:
            raise
        except Exception as error:
            raise self._explained(error) from error
        finally:
            with self._lock:
                del self._waiting[key], self._sent[key]

    def _fit(self) -> list[str] | None:
        """The workers that may be asked; None for all of them.

        Raises:
            ConnectionFailed: none is left.
        """
        if not self._unfit:
            return None
        there = self._scheduler.workers()
        left = [address for address in there if address not in self._unfit]
        if left:
            return left
        unfit = dict(self._unfit)  # others may be found so meanwhile
        one = next(iter(unfit.values()))
        raise ConnectionFailed(
            f"no worker of {self._scheduler.address} can do the job: {one.brief}",
            detail="\n".join(
                f"{address}: {said.brief}" + (f"\n{said.detail}" if said.detail else "")
                for address, said in unfit.items()
            ),
            resolution=one.resolution or "start others, or do it here: leave --on out",
        )

    def _hangs(self, waiting: Waiting) -> bool:
        """Whether a job's worker has begun with it and says nothing any more."""
        if not waiting.heard or time.monotonic() - waiting.heard < SILENT_S:
            return False
        self._unfit[waiting.worker] = Said(
            kind="ConnectionFailed", brief=f"it said nothing for {SILENT_S:.0f} s"
        )
        waiting.progress(f"{waiting.worker} does not answer: another one is asked")
        return True

    def _stranded(self, waiting: Waiting, allowed: list[str] | None) -> bool:
        """Whether none of the workers that may do a job is there any more."""
        return bool(
            allowed and not waiting.heard and not {*allowed} & self._scheduler.workers().keys()
        )

    def _hear(self, said: Any) -> None:
        try:
            beat = Beat.model_validate(said)
        except ValidationError:
            return  # of another version's client
        waiting = self._waiting.get(beat.key)
        if waiting is not None:
            waiting.heard, waiting.worker = time.monotonic(), beat.worker
            if beat.line:
                waiting.progress(f"{beat.line} ({beat.name})")

    def _explained(self, error: Exception) -> EdgewrightError | CancelledError:
        if self._ended:
            return CancelledError()
        if not self._scheduler.running or "Cancelled" in type(error).__name__:
            return ConnectionFailed(
                f"the scheduler at {self._scheduler.address} went away",
                resolution="once it runs again, give the command again: what is made is kept",
            )
        if type(error).__name__ == "KilledWorker":
            return ModelError(
                "the workers that did it ended, one after another",
                detail=(str(error).splitlines() or [""])[0],
                resolution="they most likely ran out of memory: give them more, or do it here: "
                "leave --on out",
            )
        return ModelError(
            "a worker could not do it",
            detail=f"{type(error).__name__}: {error}"[:2000],
            resolution="have it run the same version as this machine",
        )


def _raised(said: Said) -> EdgewrightError:
    kind = getattr(errors, said.kind, None)
    named = isinstance(kind, type) and issubclass(kind, EdgewrightError)
    made = kind if named and kind is not errors.CommandError else ModelError
    assert made is not None
    return made(said.brief, detail=said.detail, resolution=said.resolution)
