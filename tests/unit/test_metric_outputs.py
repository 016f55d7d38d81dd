"""Outputs brought home from a device: shard by shard, checked, going on after a break."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgewright_runner.samples import Samples

from deploy.measure import jobs as deployed_jobs
from deploy.measure import outputs
from deploy.measure.accuracy import Images
from deploy.measure.jobs import Selection
from deploy.measure.runner_protocol import Job
from tests.support import measured
from tests.support.damage import damaged
from tests.support.deployed import DEPLOYED, END, LISTED, started
from toolchain.accuracy import metric_job
from toolchain.accuracy.sharding.shards import Shards
from toolchain.core import store
from toolchain.core.errors import ConnectionFailed, ModelError, ReleaseError

NAMES = ["shard-0000.npz", "shard-0001.npz"]


class FakeDevice:
    """Runs jobs that give their own name, and sends files in base64.

    Args:
        damages: so many of the first files arrive damaged here.
        breaks_at: the link drops at that shard's jobs, from 1.
        fails: optimisation levels that crash.
    """

    def __init__(self, *, damages: int = 0, breaks_at: int = 0, fails: Sequence[int] = ()) -> None:
        self.files: dict[str, bytes] = {}
        self.damages, self.breaks_at, self.fails = damages, breaks_at, fails
        self.ran = 0

    def push(
        self,
        local: Path,
        remote: str,
        *,
        resume: bool = False,
        on_bytes: Callable[[int], None] | None = None,
    ) -> int:
        """Take a file."""
        self.files[remote] = local.read_bytes()
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
        if args[0] == "base64":
            self.damages -= 1
            content = self.files[args[1]]
            return base64.encodebytes(content[1:] if self.damages >= 0 else content).decode()
        if args[0] == "rm":
            for name in args[2:]:
                self.files.pop(name, None)
            return ""
        if "--list" in args:
            return json.dumps(LISTED)
        assert input_text is not None
        assert on_line is not None
        self.ran += 1
        if self.ran == self.breaks_at:
            raise ConnectionFailed("the link dropped")
        on_line(json.dumps(started()))
        for number, job in enumerate(json.loads(input_text)["jobs"]):
            result = self._result(job)
            on_line(json.dumps({"event": "result", "job": number, "result": result}))
        on_line(json.dumps(END))
        return ""

    def _result(self, job: dict[str, object]) -> object:
        names = ("model", "batch", "runtime", "variant", "opt_level", "threads")
        same = {name: job.get(name) for name in names}
        if job.get("opt_level") in self.fails:
            error = {"stage": "load", "kind": "crash", "message": "killed by SIGSEGV"}
            return {**same, "status": "failed", "error": error}
        assert str(job["reference"]) in self.files
        self.files[str(job["outputs"])] = f"{job['outputs']} {job['samples']}".encode()
        found = measured.measurement(**same)
        return found.model_dump(mode="json")


@pytest.fixture
def images(tmp_path: Path) -> Images:
    cache = store.Store(tmp_path / "cache")

    def fill(name: str) -> store.Entry:
        def build(folder: Path) -> None:
            for number, shard in enumerate(NAMES):
                (folder / shard).write_text(f"{name} {number}")
                (folder / f"reference-{number:04}.npz").write_text(f"{name} reference {number}")

        return cache.get_or_build({"of": name}, build)

    shards = Shards(entry=fill("shards"), files=NAMES, total=100, unreadable=[])
    variants = {job.variant for job in planned()}
    return Images(shards=shards, references={v: fill(v) for v in variants}, suffix=".npz")


def planned() -> list[Job]:
    return deployed_jobs.plan(DEPLOYED, Selection(batches=[1]))


def brought(device: FakeDevice, images: Images, folder: Path) -> list[outputs.Brought]:
    return outputs.bring(
        device,
        root="~/edgewright",
        jobs=planned(),
        images=images,
        folder=folder,
        progress=lambda _: None,
    )


def test_every_job_has_a_file_for_each_shard_and_none_stays_there(
    images: Images, tmp_path: Path
) -> None:
    device = FakeDevice()
    found = brought(device, images, tmp_path / "outputs")
    contents = [path.read_text() for one in found for path in one.files]
    assert len(found) == len(planned()) > 1
    assert len(set(contents)) == len(contents) == 2 * len(found)
    assert device.files == {}


def test_a_run_that_broke_off_goes_on_at_the_next_shard(images: Images, tmp_path: Path) -> None:
    device = FakeDevice(breaks_at=2)
    with pytest.raises(ConnectionFailed):
        brought(device, images, tmp_path)
    again = FakeDevice()
    assert all(path.is_file() for one in brought(again, images, tmp_path) for path in one.files)
    assert again.ran == 1


def test_damaged_outputs_are_sent_again_and_refused_in_the_end(
    images: Images, tmp_path: Path
) -> None:
    assert brought(FakeDevice(damages=1), images, tmp_path / "once")
    with pytest.raises(ReleaseError, match="arrive damaged"):
        brought(FakeDevice(damages=99), images, tmp_path / "always")


def test_a_job_that_crashes_says_why_and_the_others_go_on(images: Images, tmp_path: Path) -> None:
    levels = {job.opt_level for job in planned()} - {None}
    failing = max(level for level in levels if level is not None)
    found = brought(FakeDevice(fails=[failing]), images, tmp_path)
    errors = {one.job.opt_level: one.error for one in found}
    assert errors[failing] == "load: killed by SIGSEGV"
    assert not any(error for level, error in errors.items() if level != failing)


def test_the_runner_writes_all_outputs_and_quantised_ones_as_real_numbers(tmp_path: Path) -> None:
    given = tmp_path / "samples.npz"
    arrays: dict[str, Any] = {
        "in:x": np.zeros((2, 1, 3), np.float32),
        "out:a": np.zeros((2, 1, 2), np.int8),
    }
    np.savez(given, allow_pickle=False, **arrays)
    signature: dict[str, Any] = {
        "inputs": [{"name": "x"}],
        "outputs": [{"name": "a", "quantization": {"scale": 0.5, "zero": 1}}],
    }
    samples = Samples(given, 1, None, signature)
    samples.keep(0, {"a": np.asarray([[3, 1]], np.int8)})
    with pytest.raises(ValueError, match="1 of 2 inferences"):
        samples.save(tmp_path / "outputs.npz")
    samples.keep(1, {"a": np.asarray([[1, 5]], np.int8)})
    samples.save(tmp_path / "outputs.npz")
    found = [one["a"].tolist() for one in metric_job.of_files([tmp_path / "outputs.npz"])]
    assert found == [[1.0, 0.0], [0.0, 2.0]]


def a_bomb(folder: Path) -> bytes:
    """Half a gigabyte of zeros, packed."""
    zeros: dict[str, Any] = {"out:a": np.zeros((1 << 16, 1, 2048), np.float32)}
    np.savez_compressed(folder / "bomb.npz", **zeros)
    return (folder / "bomb.npz").read_bytes()


def an_archive(folder: Path, **arrays: Any) -> bytes:
    np.savez(folder / "other.npz", **arrays)
    return (folder / "other.npz").read_bytes()


def test_outputs_that_a_device_made_up_are_refused(tmp_path: Path) -> None:
    good = an_archive(tmp_path, **{"out:a": np.zeros((2, 1, 3), np.float32)})
    path = tmp_path / "outputs.npz"
    bad = {
        "no archive": b"outputs",
        "empty": b"",
        "cut": good[: len(good) // 2],
        "packed": a_bomb(tmp_path),
        "nothing in it": an_archive(tmp_path),
        "other names": an_archive(tmp_path, a=np.zeros(3)),
        "a number": an_archive(tmp_path, **{"out:a": np.float32(1)}),
        "too few dimensions": an_archive(tmp_path, **{"out:a": np.zeros(3)}),
        "objects": an_archive(tmp_path, **{"out:a": np.array([{}], dtype=object)}),
        "an array of another size": good.replace(b"(2, 1, 3)", b"(9, 9, 9)"),
        "a header that is code": good.replace(b"'<f4'", b"f(9) "),
    }
    for content in bad.values():
        path.write_bytes(content)
        with pytest.raises(ModelError, match="can't be read"):
            list(metric_job.of_files([path]))
    path.write_bytes(good)
    assert len(list(metric_job.of_files([path]))) == 2


def test_damaged_outputs_are_read_or_refused(tmp_path: Path) -> None:
    chance = random.Random(23)  # noqa: S311 (the same each time)
    good = an_archive(tmp_path, **{"out:a": np.zeros((2, 1, 3), np.float32)})
    for _ in range(500):
        (tmp_path / "outputs.npz").write_bytes(damaged(good, chance))
        with suppress(ModelError):
            list(metric_job.of_files([tmp_path / "outputs.npz"]))
