"""A real scheduler of Dask, and workers that are processes: results, deaths and interrupts."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support import clusters
from tests.support.clusters import job
from tests.support.shared_caches import Team
from toolchain import targets
from toolchain.cluster import cluster_executor, scheduler
from toolchain.cluster.cluster_executor import ClusterExecutor
from toolchain.cluster.works import models_elsewhere
from toolchain.compile.compilation import Linker
from toolchain.core import paths
from toolchain.core.errors import ConnectionFailed, UsageError
from toolchain.core.store import Store, digest_of
from toolchain.shared_cache import shared_store

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        not importlib.util.find_spec("distributed"), reason="the extra dask is not installed"
    ),
]


class Cluster:
    """A scheduler and workers, each a process with a store of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as trial:
            trial.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{trial.getsockname()[1]}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *args: str, **variables: str) -> None:
        """Start one by its name."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(paths.ROOT),
            "EDGEWRIGHT_CACHE": str(self.folder / name),
            **variables,
        }
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "distributed.cli." + args[0], *args[1:], "--no-dashboard"],
                stdout=log,
                stderr=log,
                env=environment,
                cwd=self.folder,
            )

    def scheduler(self) -> None:
        """Start the scheduler."""
        port = self.address.rpartition(":")[2]
        self.start("scheduler", "dask_scheduler", "--host", "127.0.0.1", "--port", port)

    def worker(self, name: str, **variables: str) -> None:
        """Start a worker of one thread, which nothing starts again."""
        self.start(
            name, "dask_worker", self.address, "--name", name, "--nthreads", "1", "--no-nanny",
            "--host", "127.0.0.1", "--local-directory", str(self.folder), **variables,
        )  # fmt: skip

    def executor(self, team: Team) -> ClusterExecutor:
        """What sends jobs there."""
        from toolchain.cluster.scheduler import Scheduler

        stores: list[Any] = [
            shared_store.opened(team.said.append, share=share, jobs=True) for share in (False, True)
        ]
        return ClusterExecutor(Scheduler(self.address), *stores)


@pytest.fixture
def team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Team:
    """A shared cache in a folder, whose key this machine and the workers have."""
    (tmp_path / "shared").mkdir()
    found = Team(tmp_path, str(tmp_path / "shared"), monkeypatch)
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "here"))
    return found


@pytest.fixture
def bare(tmp_path: Path, team: Team) -> Iterator[Cluster]:
    """A scheduler without workers."""
    del team  # they take its variables
    found = Cluster(tmp_path)
    found.scheduler()
    try:
        yield found
    finally:
        for process in found.processes.values():
            process.kill()
            process.wait()


@pytest.fixture
def cluster(bare: Cluster) -> Cluster:
    """Two workers."""
    for name in ("one", "two"):
        bare.worker(name)
    return bare


def eventually(what: Any, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


def jobs_at(process: subprocess.Popen[bytes]) -> list[str]:
    """The processes that a worker has started."""
    return [
        child
        for thread in Path(f"/proc/{process.pid}/task").iterdir()
        for child in (thread / "children").read_text().split()
    ]


def test_what_a_cluster_makes_is_what_is_made_here_though_a_worker_is_killed(
    cluster: Cluster, team: Team, tmp_path: Path
) -> None:
    work = clusters.network(tmp_path / "mine.onnx")
    killed: list[str] = []

    def progress(line: str) -> None:
        for name in ("one", "two"):
            if not killed and f"({name})" in line and "begun" not in line:
                killed.append(name)
                cluster.processes[name].kill()

    with cluster.executor(team) as pool:
        pool.submit(lambda _: None, job(work, progress)).result(timeout=120)
        pool._scheduler.close()
    assert killed
    there = Store(tmp_path / "here").entry(digest_of(work.inputs()))
    assert there is not None
    alone = Store(tmp_path / "alone")
    work.make(alone, clusters.silent)
    made = alone.entry(digest_of(work.inputs()))
    assert made is not None
    assert there.files == made.files


def test_an_interrupt_ends_the_processes_at_workers(
    cluster: Cluster, team: Team, tmp_path: Path
) -> None:
    work = clusters.network(tmp_path / "mine.onnx")
    workers = [cluster.processes[name] for name in ("one", "two")]
    pool = cluster.executor(team)
    pool.submit(lambda _: None, job(work))
    eventually(lambda: any(jobs_at(worker) for worker in workers))
    pool.__exit__(KeyboardInterrupt, None, None)
    pool._scheduler.close()
    eventually(lambda: not any(jobs_at(worker) for worker in workers), seconds=3)
    assert Store(tmp_path / "here").entry(digest_of(work.inputs())) is None


def test_what_a_worker_has_that_stands_still_is_done_by_another(
    cluster: Cluster, team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = clusters.network(tmp_path / "mine.onnx")
    lines: list[str] = []
    monkeypatch.setattr(cluster_executor, "BEAT_S", 0.1)

    def progress(line: str) -> None:
        lines.append(line)
        for name in ("one", "two"):
            if len(lines) == 1 and f"({name})" in line:
                cluster.processes[name].send_signal(signal.SIGSTOP)
                monkeypatch.setattr(cluster_executor, "SILENT_S", 0.1)
        if "does not answer" in line:  # the other one is given all the time that it takes
            monkeypatch.setattr(cluster_executor, "SILENT_S", 600.0)

    with cluster.executor(team) as pool:
        eventually(lambda: len(pool._scheduler.workers()) == len(cluster.processes) - 1, seconds=60)
        pool.submit(lambda _: None, job(work, progress)).result(timeout=120)
        pool._scheduler.close()
    assert [line for line in lines if "does not answer: another one is asked" in line]
    assert Store(tmp_path / "here").entry(digest_of(work.inputs())) is not None


def test_a_worker_that_stands_still_before_keeps_nobody(
    cluster: Cluster, team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed import Client

    with Client(cluster.address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
    patience = scheduler.WORKERS_S
    monkeypatch.setattr(scheduler, "WORKERS_S", 1)
    for name in ("one", "two"):
        cluster.processes[name].send_signal(signal.SIGSTOP)
    with pytest.raises(ConnectionFailed, match=r"no worker of .* answers") as raised:
        cluster.executor(team)
    assert raised.value.detail == "none within 1 s, of 2 that it knows"
    monkeypatch.setattr(scheduler, "WORKERS_S", patience)
    cluster.processes["two"].send_signal(signal.SIGCONT)
    work = clusters.network(tmp_path / "mine.onnx")
    lines: list[str] = []
    with cluster.executor(team) as pool:
        pool.submit(lambda _: None, job(work, lines.append)).result(timeout=120)
        pool._scheduler.close()
    assert [line for line in lines if line.endswith("(two)")]


def test_a_model_that_is_made_anew_at_a_worker_is_the_same(
    cluster: Cluster, team: Team, tmp_path: Path
) -> None:
    spec = clusters.network(tmp_path / "mine.onnx").spec
    lines: list[str] = []

    def link(objects: Sequence[Path], output: Path, _: object) -> None:
        output.write_bytes(b"".join(path.read_bytes() for path in objects))

    linker = Linker(identity="joined", link=link, image=str)
    with cluster.executor(team) as pool:
        first, second = models_elsewhere.twice(
            spec, targets.target("x86_64"), linker, executor=pool, store=pool._store,
            out=tmp_path / "out", say=lines.append,
        )  # fmt: skip
        pool._scheduler.close()
    (library,) = first.rglob("*.so")
    assert library.read_bytes() == (second / library.relative_to(first)).read_bytes()
    # the second finds nothing of the first
    for step in ("reading the model", "compiling for the target"):
        assert len([line for line in lines if f"mine: {step} (" in line]) == 2, step


def test_a_worker_without_our_code_is_none_to_wait_for(
    bare: Cluster, team: Team, tmp_path: Path
) -> None:
    """The other one has no shared cache, so none is left."""
    from distributed import Client

    # where this project is installed it is found without PYTHONPATH: a module stands before it
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "toolchain.py").touch()
    bare.worker("stranger", PYTHONPATH=str(tmp_path / "other"))
    bare.worker("poor", EDGEWRIGHT_SHARED_CACHE="")
    with Client(bare.address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=30)
    work = clusters.network(tmp_path / "mine.onnx")
    with bare.executor(team) as pool:
        assert len(pool._scheduler.workers()) == 1
        with pytest.raises(ConnectionFailed, match=r"no worker of .* can do the job"):
            pool.submit(lambda _: None, job(work)).result(timeout=60)
        pool._scheduler.close()


def test_a_scheduler_of_another_version_is_one_line(
    bare: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    import distributed

    there = distributed.__version__
    monkeypatch.setattr(distributed, "__version__", "2000.1.0")
    with pytest.raises(ConnectionFailed, match="is of another version") as raised:
        scheduler.Scheduler(bare.address)
    assert raised.value.detail == f"distributed {there} there, 2000.1.0 here"


def test_a_stranger_and_nobody_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no address of a scheduler"):
        scheduler.Scheduler("scheduler")
    with pytest.raises(UsageError, match="no credentials"):
        scheduler.Scheduler("tls://127.0.0.1:1")
    monkeypatch.setattr(scheduler, "PATIENCE_S", 2)
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        for port in (stranger.getsockname()[1], 1):
            with pytest.raises(ConnectionFailed, match="no scheduler answers") as raised:
                scheduler.Scheduler(f"tcp://127.0.0.1:{port}")
            assert "\n" not in raised.value.detail
