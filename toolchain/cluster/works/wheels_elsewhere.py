"""Wheels of a target by the workers of a cluster, side by side."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import NoReturn

from toolchain.cluster.side_by_side import jobs_of, results
from toolchain.cluster.work import Job, Work
from toolchain.cluster.works.wheel_work import WheelAgainWork, WheelWork
from toolchain.core.errors import EdgewrightError
from toolchain.core.store import Store, digest_of
from toolchain.targets import Target

Say = Callable[[str], None]


def build(names: Sequence[str], target: Target, executor: Executor, store: Store, say: Say) -> None:
    """Have wheels in a store, that of the executor.

    Args:
        names: of their recipes.
        target: what they are for.
        executor: has them built.
        store: takes them.
        say: called with each step.

    Raises:
        EdgewrightError: one can't be built; the others are.
    """
    works = [WheelWork(name=name, target=target) for name in names]
    _have(names, works, executor, store, say)


def again(
    names: Sequence[str], target: Target, executor: Executor, store: Store, say: Say
) -> list[Path]:
    """The files of wheels that were built anew, each at a worker; arguments are those of `build`.

    Raises:
        EdgewrightError: one can't be built.
    """
    run = uuid.uuid4().hex
    works = [WheelAgainWork(name=name, target=target, run=run) for name in names]
    return _have(names, works, executor, store, say)


def _have(
    names: Sequence[str], works: Sequence[Work], executor: Executor, store: Store, say: Say
) -> list[Path]:
    given = partial(_wheel, store)
    return results(executor, given, jobs_of(names, works, say), _raise)


def _wheel(store: Store, job: Job[str]) -> Path:
    """The file of a job's wheel; the executor has brought its entry."""
    job.work.make(store, job.progress)
    entry = store.entry(digest_of(job.work.inputs()))
    assert entry is not None
    return next(entry.file(name) for name in entry.files if name.endswith(".whl"))


def _raise(_name: str, error: EdgewrightError) -> NoReturn:
    raise error
