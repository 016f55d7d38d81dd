"""What a job costs beside its work: by this machine's threads, and by a cluster of Dask here.

    python -m benchmarks.scale.costs_of_jobs [--jobs 400] [--workers 4]
    python -m benchmarks.scale.costs_of_jobs --jobs 24 --seconds 3

A job makes an entry of one small file: what is left is finding, locking, writing, signing, sending
and taking it. With `--seconds` each also has a process of its own compute for so long, as a
compilation does, and the two ways are taken in turn: their ratio is of the least times. Workers are
processes of one thread with stores of their own, the team's cache is a folder. Needs the extra
dask. Nothing is asserted.
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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.clusters import Counted
from toolchain.cluster import place_of_work, task
from toolchain.cluster.scheduler import Scheduler
from toolchain.cluster.side_by_side import jobs_of, results
from toolchain.cluster.work import Job, Work
from toolchain.commandline import console
from toolchain.core import paths, process, signing
from toolchain.core.store import Store
from toolchain.shared_cache import trusted_keys

COLUMNS = [
    *("where", "jobs", "ms a job", "processor ms a job: this process", "the scheduler"),
    "the scheduler's MB",
]
COMPUTE = """
import sys, time
while time.process_time() < float(sys.argv[1]):
    sum(range(10_000))
"""
ROUNDS = 3
ALONE = 20  # jobs one after another
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Computed(Counted):
    """An entry for which a process computes for some seconds."""

    seconds: float

    def make(self, store: Store, progress: Callable[[str], None]) -> None:
        """See `Work`."""
        del progress

        def build(into: Path) -> None:
            process.run([sys.executable, "-I", "-c", COMPUTE, str(self.seconds)])
            (into / "is").write_text(str(self.number))

        store.get_or_build(self.inputs(), build)


def dask_setup(worker: Any) -> None:
    """Called by a worker that is started with `--preload` of this module."""
    del worker
    for kind in (Counted, Computed):
        task.KINDS[kind.__name__] = kind


def measured(
    pool: Executor, store: Store, numbers: range, scheduler: int | None, seconds: float = 0.0
) -> list[str]:
    """All jobs at once: wall milliseconds of each, and processors' of who has them done."""

    def one(job: Job[int]) -> None:
        job.work.make(store, _silent)

    def failed(_: int, error: Exception) -> None:
        raise error

    works: list[Work] = [
        Computed(number=number, seconds=seconds) if seconds else Counted(number=number)
        for number in numbers
    ]
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


def _processor(number: int | None, *, children: bool = False) -> float:
    """Seconds of processor that a process has had, and those of its that have ended."""
    if number is None:
        return 0.0
    said = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in said[11 : 15 if children else 13]) / TICKS


def _all(processes: Sequence[int]) -> float:
    """Seconds of processor of this process, a cluster's, and what they have had computed."""
    return sum(_processor(number, children=True) for number in (os.getpid(), *processes))


def _resident(number: int) -> int:
    """Bytes of memory that a process has."""
    return int(Path(f"/proc/{number}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def _one_after_another(executor: Executor, store: Store) -> list[str]:
    """The median of some jobs by themselves."""
    alone = [measured(executor, store, range(-n, 1 - n), None) for n in range(1, ALONE + 1)]
    each, own = (statistics.median(float(row[column]) for row in alone) for column in (1, 2))
    return ["one after another", str(ALONE), f"{each:.1f}", f"{own:.1f}", "", ""]


def _in_turn(
    executor: Executor,
    store: Store,
    alone: Store,
    processes: Sequence[int],
    asked: argparse.Namespace,
) -> list[list[str]]:
    """Jobs that compute, by two threads here and by the cluster: the least of some rounds each."""
    processors: dict[bool, list[float]] = {False: [], True: []}
    found: dict[str, list[list[str]]] = {"two threads": [], f"{asked.workers} workers": []}
    here, there = found.values()
    for turn in range(ROUNDS):
        numbers = range((turn + 1) * 10**8, (turn + 1) * 10**8 + asked.jobs)
        before = _all(processes)
        with ThreadPoolExecutor(2) as pool:
            here.append(measured(pool, alone, numbers, None, asked.seconds))
        between = _all(processes)
        there.append(measured(executor, store, numbers, processes[0], asked.seconds))
        processors[False].append(between - before)
        processors[True].append(_all(processes) - between)
    least = [min(runs, key=lambda row: float(row[1])) for runs in (here, there)]
    time_ratio = float(least[1][1]) / float(least[0][1])
    ratio = min(processors[True]) / min(processors[False])
    console.out.print(f"the cluster, of that: time {time_ratio:.3f}, all processors {ratio:.3f}")
    return [[name, *row] for name, row in zip(found, least, strict=True)]


def _wait_for(workers: int, address: str) -> None:
    scheduler = Scheduler(address)
    while len(scheduler.workers()) < workers:
        time.sleep(0.1)
    scheduler.close()


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[tuple[str, list[int]]]:
    """A scheduler's address, and its process and those of so many workers."""
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
        yield address, [one.pid for one in started]
    finally:
        for one in started:
            one.kill()
            one.wait()


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=400)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=0.0)
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
        alone = Store(folder / "alone")
        if not asked.seconds:
            with ThreadPoolExecutor(2) as pool:
                rows.append(["two threads", *measured(pool, alone, range(asked.jobs), None)])
        with cluster(folder, asked.workers) as (address, processes):
            _wait_for(asked.workers, address)
            with place_of_work.opened(address, console.step, _silent, share=False) as place:
                assert place.executor is not None
                if asked.seconds:
                    rows = _in_turn(place.executor, place.store, alone, processes, asked)
                    console.show_table("jobs that compute", COLUMNS, rows)
                    return
                for first, many in ((10**6, 10), (0, asked.jobs), (10**7, asked.jobs)):
                    some = range(first, first + many)
                    found = measured(place.executor, place.store, some, processes[0])
                    rows.append([f"{asked.workers} workers", *found])
                rows.append(_one_after_another(place.executor, place.store))
    console.show_table("what a job costs", COLUMNS, rows)


if __name__ == "__main__":
    main()
