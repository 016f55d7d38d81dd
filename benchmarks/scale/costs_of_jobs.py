"""What a job costs beside its work: by this machine's threads, and by a cluster of Dask here.

    python -m benchmarks.scale.costs_of_jobs [--jobs 400] [--workers 4]

A job makes an entry of one small file: what is left is finding, locking, writing, signing, sending
and taking it. Workers are processes of one thread with stores of their own, the team's cache is a
folder. Needs the extra dask. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.clusters import Counted
from toolchain.cluster import place_of_work, task
from toolchain.cluster.scheduler import Scheduler
from toolchain.cluster.side_by_side import jobs_of, results
from toolchain.cluster.work import Job
from toolchain.commandline import console
from toolchain.core import paths, signing
from toolchain.core.store import Store
from toolchain.shared_cache import trusted_keys

COLUMNS = [
    *("where", "jobs", "ms a job", "processor ms a job: this process", "the scheduler"),
    "the scheduler's MB",
]
ALONE = 20  # jobs one after another
TICKS = os.sysconf("SC_CLK_TCK")


def dask_setup(worker: Any) -> None:
    """Called by a worker that is started with `--preload` of this module."""
    del worker
    task.KINDS["Counted"] = Counted


def measured(pool: Executor, store: Store, numbers: range, scheduler: int | None) -> list[str]:
    """All jobs at once: wall milliseconds of each, and processors' of who has them done."""

    def one(job: Job[int]) -> None:
        job.work.make(store, _silent)

    def failed(_: int, error: Exception) -> None:
        raise error

    works = [Counted(number=number) for number in numbers]
    before, then = _own(), _processor(scheduler)
    started = time.monotonic()
    results(pool, one, jobs_of(numbers, works, _silent), failed)
    each = 1e3 / len(numbers)
    return [
        str(len(numbers)),
        f"{(time.monotonic() - started) * each:.1f}",
        f"{(_own() - before) * each:.1f}",
        f"{(_processor(scheduler) - then) * each:.1f}" if scheduler else "",
        f"{_resident(scheduler) / 1e6:.0f}" if scheduler else "",
    ]


def _silent(_line: str) -> None:
    pass


def _own() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _processor(number: int | None) -> float:
    """Seconds of processor that a process has had."""
    if number is None:
        return 0.0
    said = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    return (int(said[11]) + int(said[12])) / TICKS


def _resident(number: int) -> int:
    """Bytes of memory that a process has."""
    return int(Path(f"/proc/{number}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def _one_after_another(executor: Executor, store: Store) -> list[str]:
    """The median of some jobs by themselves."""
    alone = [measured(executor, store, range(-n, 1 - n), None) for n in range(1, ALONE + 1)]
    each, own = (statistics.median(float(row[column]) for row in alone) for column in (1, 2))
    return ["one after another", str(ALONE), f"{each:.1f}", f"{own:.1f}", "", ""]


def _wait_for(workers: int, address: str) -> None:
    scheduler = Scheduler(address)
    while len(scheduler.workers()) < workers:
        time.sleep(0.1)
    scheduler.close()


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[tuple[str, int]]:
    """A scheduler's address and process, with so many workers."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port = str(trial.getsockname()[1])
    address, started = f"tcp://127.0.0.1:{port}", []

    def start(name: str, *args: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(paths.ROOT)}
        environment["EDGEWRIGHT_CACHE"] = str(folder / name)
        with (folder / f"{name}.log").open("wb") as log:
            command = [sys.executable, "-m", f"distributed.cli.{args[0]}", *args[1:]]
            started.append(
                subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder)
            )

    start("scheduler", "dask_scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard")
    for number in range(workers):
        start(
            f"worker{number}", "dask_worker", address, "--nthreads", "1", "--no-nanny",
            "--no-dashboard", "--host", "127.0.0.1", "--local-directory", str(folder),
            "--preload", __spec__.name,
        )  # fmt: skip
    try:
        yield address, started[0].pid
    finally:
        for process in started:
            process.kill()
            process.wait()


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=400)
    parser.add_argument("--workers", type=int, default=4)
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="edgewright-") as name:
        folder = Path(name)
        (folder / "shared").mkdir()
        os.environ |= {
            "EDGEWRIGHT_KEYS": str(folder / "keys"),
            "EDGEWRIGHT_DIST": str(folder / "project"),
            "EDGEWRIGHT_SHARED_CACHE": str(folder / "shared"),
            "EDGEWRIGHT_CACHE": str(folder / "here"),
        }
        signing.make_key()
        trusted_keys.path().parent.mkdir(exist_ok=True)
        trusted_keys.path().write_text(f"{signing.public_key()}\n")
        with ThreadPoolExecutor(2) as pool:
            numbers = range(asked.jobs)
            rows.append(["two threads", *measured(pool, Store(folder / "alone"), numbers, None)])
        with cluster(folder, asked.workers) as (address, scheduler):
            _wait_for(asked.workers, address)
            with place_of_work.opened(address, console.step, _silent, share=False) as place:
                assert place.executor is not None
                for first, many in ((10**6, 10), (0, asked.jobs), (10**7, asked.jobs)):
                    some = range(first, first + many)
                    found = measured(place.executor, place.store, some, scheduler)
                    rows.append([f"{asked.workers} workers", *found])
                rows.append(_one_after_another(place.executor, place.store))
    console.show_table("what a job costs", COLUMNS, rows)


if __name__ == "__main__":
    main()
