"""Where conversions and compilations are done: by this machine, or by a cluster that is named."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from toolchain.core.errors import UsageError
from toolchain.core.store import Store
from toolchain.shared_cache import addresses, shared_store
from toolchain.shared_cache.shared_store import SharedStore

VARIABLE = "DASK_SCHEDULER_ADDRESS"
Say = Callable[[str], None]
Step = Callable[[str], AbstractContextManager[Say]]


@dataclass(frozen=True, kw_only=True)
class PlaceOfWork:
    """A store, and what does the work elsewhere; None where this machine does."""

    store: Store
    executor: Executor | None = None

    def refuse_compiler(self, name: str) -> None:
        """Refuse a compiler that workers don't have.

        Raises:
            UsageError: it is not the release that is installed.
        """
        if self.executor is not None and name != "release":
            raise UsageError(
                f"--compiler {name} compiles on this machine alone",
                resolution=f"leave --on and {VARIABLE} out, or --compiler",
            )


@contextmanager
def opened(on: str, step: Step, say: Say, *, share: bool) -> Iterator[PlaceOfWork]:
    """This machine, or the cluster at an address, which is left at the end.

    Args:
        on: address of a scheduler; the variable's when empty, and without either, this machine.
        step: shows that it connects.
        say: takes a line for the reader.
        share: whether the team's cache is given what is made or found here.

    Raises:
        UsageError: no such address, or no shared cache to exchange files by.
        ModelError: the extra is not installed.
        ConnectionFailed: no scheduler answers there.
    """
    address = on or os.environ.get(VARIABLE, "").strip()
    if not address:
        yield PlaceOfWork(store=shared_store.opened(say, share=share))
        return
    if not addresses.address():
        raise UsageError(
            "there is no shared cache, by which a cluster's machines exchange files",
            resolution="say where it is: EDGEWRIGHT_SHARED_CACHE=ADDRESS, here and at the workers",
        )
    store = shared_store.opened(say, share=share, jobs=True)
    giver = shared_store.opened(say, share=True, jobs=True)
    assert isinstance(store, SharedStore)
    assert isinstance(giver, SharedStore)
    # only now: a task mostly has no use for them
    from toolchain.cluster.cluster_executor import ClusterExecutor
    from toolchain.cluster.scheduler import Scheduler

    with step(f"cluster {address}") as line:
        scheduler = Scheduler(address)
        there = scheduler.workers()
        line(f"{len(there)} workers")
    try:
        with ClusterExecutor(scheduler, store, giver) as executor:
            yield PlaceOfWork(store=store, executor=executor)
    finally:
        scheduler.close()
