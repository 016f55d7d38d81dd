"""How much a worker takes: jobs by its threads, and of conversions as many as its memory allows."""

from __future__ import annotations

from typing import Any

from distributed import WorkerPlugin

from toolchain.cluster.messages import CONVERSIONS, JOBS
from toolchain.cluster.work import CONVERSION


class Resources(WorkerPlugin):  # type: ignore[misc]  # it has no types
    """What each worker says that it has, as it comes."""

    async def setup(self, worker: Any) -> None:
        """Called by Dask; what a worker was started with stays."""
        said = worker.state.total_resources
        memory = int(worker.memory_manager.memory_limit or 0) or CONVERSION
        found = {JOBS: worker.state.nthreads, CONVERSIONS: max(1, memory // CONVERSION)}
        await worker.set_resources(**{n: float(many) for n, many in found.items() if n not in said})
