"""Accuracy on a user's images: shard by shard, checked on the device, going on after a break."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from deploy.measure import accuracy as measuring
from deploy.measure import jobs as deployed_jobs
from deploy.measure.jobs import Selection
from tests.support import measured
from tests.support.deployed import DEPLOYED, END, LISTED, started
from toolchain.accuracy import counts
from toolchain.accuracy.counts import Counts, Run
from toolchain.accuracy.sharding.shards import Shards
from toolchain.core import store
from toolchain.core.errors import BenchError, ConnectionFailed, ReleaseError
from toolchain.report import accuracy_section, failures
from toolchain.results.configuration import Configuration

NAMES = ["shard-0000.npz", "shard-0001.npz"]


DROPPED = ConnectionFailed("the link dropped")


class FakeDevice:
    """Takes files, hashes them, and runs jobs: each has 3 of 4 images right.

    Args:
        damages: so many of the first files arrive damaged.
        breaks_at: something ends the run at that shard's jobs, from 1.
        breaks_after: so many of these jobs.
        breaks_by: it.
        fails: optimisation levels that crash.
    """

    def __init__(
        self,
        *,
        damages: int = 0,
        breaks_at: int = 0,
        breaks_after: int = 0,
        breaks_by: BaseException = DROPPED,
        fails: Sequence[int] = (),
    ) -> None:
        self.files: dict[str, bytes] = {}
        self.pushed: list[str] = []
        self.ran: list[list[tuple[str, str, str]]] = []
        self.damages = damages
        self.breaks_at = breaks_at
        self.breaks_after = breaks_after
        self.breaks_by = breaks_by
        self.fails = fails

    def push(
        self,
        local: Path,
        remote: str,
        *,
        resume: bool = False,
        on_bytes: Callable[[int], None] | None = None,
    ) -> int:
        """Take a file."""
        self.pushed.append(remote)
        damaged = len(self.pushed) <= self.damages
        self.files[remote] = b"damaged" if damaged else local.read_bytes()
        return 0

    def run(
        self,
        args: Sequence[str],
        *,
        timeout: float = 60.0,
        silence: float | None = None,
        on_line: Callable[[str], None] | None = None,
        input_text: str | None = None,
    ) -> str:
        """Answer one of the commands that are sent."""
        if args[0] == "sh":
            return "/home/user/edgewright/accuracy\n"
        if args[0] == "sha256sum":
            return f"{hashlib.sha256(self.files[args[1]]).hexdigest()}  {args[1]}\n"
        if args[0] == "rm":
            for name in args[2:]:
                del self.files[name]
            return ""
        if "--list" in args:
            return json.dumps(LISTED)
        assert input_text is not None
        assert on_line is not None
        jobs = json.loads(input_text)["jobs"]
        self.ran.append([(j["runtime"], j["variant"], j["reference"]) for j in jobs])
        broken = len(self.ran) == self.breaks_at
        if broken and self.breaks_after == 0:
            raise self.breaks_by
        on_line(json.dumps(started()))
        for number, job in enumerate(jobs):
            if broken and number == self.breaks_after:
                raise self.breaks_by
            assert job["samples"] in self.files
            assert job["reference"] in self.files
            event = {"event": "result", "job": number, "result": self._result(job)}
            on_line(json.dumps(event))
        on_line(json.dumps(END))
        return ""

    def _result(self, job: dict[str, Any]) -> Any:
        names = ("model", "batch", "runtime", "variant", "opt_level", "threads")
        same = {name: job.get(name) for name in names}
        if job.get("opt_level") in self.fails:
            error = {"stage": "load", "kind": "crash", "message": "killed by SIGSEGV"}
            return {**same, "status": "failed", "error": error}
        found = measured.measurement(
            **same,
            accuracy={
                "total": 4,
                "available": 4,
                "correct": 3,
                "correct_top5": 4,
                "reference_correct": 3,
            },
            parity={
                "count": 4,
                "available": 4,
                "max_abs": 0,
                "reference_max_abs": 1,
                "top1_agree": 4,
            },
        )
        return json.loads(found.model_dump_json())


@pytest.fixture
def images(tmp_path: Path) -> measuring.Images:
    def entry(name: str, names: Sequence[str]) -> store.Entry:
        folder = tmp_path / name
        folder.mkdir()
        for number, file in enumerate(names):
            (folder / file).write_bytes(f"{name} {number}".encode())
        return store.Entry(key=name * 12, folder=folder, inputs={}, files=store.digest_tree(folder))

    found = Shards(entry=entry("images", NAMES), files=NAMES, total=8, unreadable=[])
    references = ["reference-0000.npy", "reference-0001.npy"]
    return measuring.Images(shards=found, references={"fp32": entry("fp32", references)})


JOBS = deployed_jobs.plan(DEPLOYED, Selection(models=["digits-cnn"]))


def a_run() -> Run:
    return Run(
        host="board",
        model="digits-cnn",
        dataset="val",
        images=8,
        unreadable=[],
        classes_matched="by name",
        published_top1=75.0,
        emulated=False,
        release="b" * 64,
        content="images" * 12,
    )


def measure(device: FakeDevice, images: measuring.Images, path: Path, run: Run) -> Run:
    return measuring.measure(
        device,
        root="~/edgewright",
        jobs=JOBS,
        images=images,
        run=run,
        path=path,
        progress=lambda _: None,
    )


def test_every_runtime_runs_every_shard_and_nothing_stays(
    images: measuring.Images, tmp_path: Path
) -> None:
    device, path = FakeDevice(), tmp_path / "run.json"
    done = measure(device, images, path, a_run())
    assert counts.load(path) == done
    assert [len(jobs) for jobs in device.ran] == [3, 3]
    assert device.files == {}
    for subject in done.subjects:
        assert subject.sum() == Counts(total=8, top1=6, top5=8, reference_top1=6, agree=8)
    line = accuracy_section.lines(done)[0]
    assert (line.runtime, line.images) == ("TFLite fp32, 1 thread", "8 of 8")
    assert (line.same_class, line.published) == ("8/8", "75 % / -")
    assert line.top1.startswith("75.0 % (")
    assert line.classes_matched == "by name"


def test_a_shard_that_arrives_damaged_is_sent_again(
    images: measuring.Images, tmp_path: Path
) -> None:
    device = FakeDevice(damages=2)
    measure(device, images, tmp_path / "run.json", a_run())
    assert len(device.pushed) == 4 + 2
    with pytest.raises(ReleaseError, match="damaged"):
        measure(FakeDevice(damages=99), images, tmp_path / "other.json", a_run())


def test_what_broke_off_goes_on_at_the_next_shard(images: measuring.Images, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    with pytest.raises(ConnectionFailed):
        measure(FakeDevice(breaks_at=2), images, path, a_run())
    kept = counts.load(path)
    assert kept is not None
    assert [list(s.shards) for s in kept.subjects] == [NAMES[:1]] * 3
    device = FakeDevice()
    done = measure(device, images, path, kept)
    assert len(device.ran) == 1
    assert all(list(s.shards) == NAMES for s in done.subjects)


@pytest.mark.parametrize("ended_by", [KeyboardInterrupt(), DROPPED])
def test_within_a_shard_what_was_counted_is_kept_and_the_shard_is_removed(
    images: measuring.Images, tmp_path: Path, ended_by: BaseException
) -> None:
    path = tmp_path / "run.json"
    device = FakeDevice(breaks_at=2, breaks_after=1, breaks_by=ended_by)
    with pytest.raises((KeyboardInterrupt, BenchError)):
        measure(device, images, path, a_run())
    assert device.files == {}
    kept = counts.load(path)
    assert kept is not None
    assert sorted(len(s.shards) for s in kept.subjects) == [1, 1, 2]
    again = FakeDevice()
    assert all(list(s.shards) == NAMES for s in measure(again, images, path, kept).subjects)
    assert [len(jobs) for jobs in again.ran] == [2]


def test_one_that_fails_does_not_stop_the_others(images: measuring.Images, tmp_path: Path) -> None:
    device = FakeDevice(fails=[0])
    done = measure(device, images, tmp_path / "run.json", a_run())
    assert [len(jobs) for jobs in device.ran] == [3, 2]
    assert len(accuracy_section.rows(done)) == 2
    with pytest.raises(BenchError, match="1 of 3") as caught:
        failures.refuse(done.subjects)
    assert "TVM O0, 1 thread: load: killed by SIGSEGV" in caught.value.detail


class Shell(FakeDevice):
    """A device that has a shell: this machine's."""

    def run(self, args: Sequence[str], **_: Any) -> str:
        """Run a command."""
        return subprocess.run(args, capture_output=True, text=True, check=True).stdout


def test_what_a_run_that_was_cut_off_left_is_removed(tmp_path: Path) -> None:
    place = tmp_path / "root" / "accuracy"
    assert measuring.folder_there(Shell(), str(place)) == str(place)
    for name in ("a.npz", "b.npy", "c.npz.part", "notes.txt"):
        (place / name).write_text("")
    measuring.folder_there(Shell(), str(place))
    assert [p.name for p in place.iterdir()] == ["notes.txt"]


def test_counts_of_other_bytes_are_forgotten() -> None:
    run = a_run()
    shard = Counts(total=4, top1=3, top5=4, reference_top1=3, agree=4)
    library = Configuration(runtime="tvm", variant="fp32", opt_level=3, threads=1, batch=1)
    run.subject(library, "a" * 64).shards["shard-0000.npz"] = shard
    assert run.subject(library, "a" * 64).sum() == shard
    assert run.subject(library, "b" * 64).sum() is None
    assert len(run.subjects) == 1
