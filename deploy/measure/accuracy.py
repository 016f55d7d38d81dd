"""Runs a user's labelled images on a device, shard by shard, and keeps what came of each.

A shard is sent, its bytes are checked there, every runtime runs it, and it is removed again: a
device needs room for one. Whatever breaks off goes on at the next shard.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from deploy.measure import bench
from toolchain.accuracy import counts as accuracy
from toolchain.accuracy.counts import Run
from toolchain.accuracy.shards import Shards
from toolchain.core import store
from toolchain.core.errors import BenchError, ReleaseError
from toolchain.results import measurement

PLACE = "accuracy"
TRIES = 3


class Connection(bench.Connection, Protocol):
    """The part of `deploy.ssh.connection.Connection` that is used here."""

    def push(
        self,
        local: Path,
        remote: str,
        *,
        resume: bool = False,
        on_bytes: Callable[[int], None] | None = None,
    ) -> int:
        """Send a file; it appears under its name only when it is whole."""
        ...


@dataclass(frozen=True, kw_only=True)
class Images:
    """What is run.

    Attributes:
        shards: the prepared images.
        references: for each form, the store's entry of what it gives here.
    """

    shards: Shards
    references: Mapping[str, store.Entry]


def measure(
    conn: Connection,
    *,
    root: str,
    jobs: Sequence[bench.Job],
    images: Images,
    run: Run,
    path: Path,
    progress: Callable[[str], None],
) -> Run:
    """Run what is missing of a run; `path` holds it after every shard.

    Args:
        conn: an open connection.
        root: our folder on the device.
        jobs: from `bench.plan`, of one model at one batch.
        images: the prepared images and what each form gives here.
        run: from an earlier time, or new.
        path: its file.
        progress: called with each step.

    Raises:
        BenchError: the runner broke off.
        ReleaseError: a shard could not be written to the device.
        ConnectionFailed: the link dropped.
    """
    place = _absolute(conn, f"{root}/{PLACE}")
    subjects = {job: run.subject(job.runtime, job.variant, job.threads, job.sha256) for job in jobs}
    for number, name in enumerate(images.shards.files):
        left = [j for j, s in subjects.items() if name not in s.shards and not s.error]
        if not left:
            continue
        progress(f"shard {number + 1} of {len(images.shards.files)}: sending")
        sent = _send(conn, place, images, number, {job.form for job in left})
        here = [
            job.model_copy(update={"samples": sent["shard"], "reference": sent[job.form]})
            for job in left
        ]
        progress(f"shard {number + 1} of {len(images.shards.files)}: running")
        try:
            for job, measured in zip(left, _measured(conn, root, here), strict=True):
                counts = accuracy.counts_of(measured)
                if counts is not None:
                    subjects[job].shards[name] = counts
                else:
                    why = measured.error
                    subjects[job].error = f"{why.stage}: {why.message}" if why else "no answer"
        finally:
            run.save(path)
        conn.run(["rm", "-f", *sent.values()])
    return run


def _measured(
    conn: Connection, root: str, jobs: Sequence[bench.Job]
) -> list[measurement.Measurement]:
    """One shard under every runtime, in the order of the jobs."""
    # what is timed is one inference; all others only check
    settings = measurement.Settings(budget_s=0, min_samples=1, max_samples=1, accuracy_s=86_400)
    with tempfile.TemporaryDirectory() as scratch:
        result, _ = bench.run(
            conn,
            host="accuracy",
            release=f"{root}/current",
            settings=settings,
            jobs=jobs,
            folder=Path(scratch),
        )
    if len(result.measurements) != len(jobs):
        raise BenchError(
            "the runner left jobs out", resolution="run the same command again for the rest"
        )
    return result.measurements


def _send(
    conn: Connection, place: str, images: Images, number: int, forms: set[str]
) -> dict[str, str]:
    """Send a shard and what the forms give for it; their paths there by "shard" and form."""
    entry, name = images.shards.entry, images.shards.files[number]
    wanted = {"shard": (entry.file(name), entry.files[name])}
    for form in sorted(forms):
        reference = images.references[form]
        file = f"reference-{number:04}.npy"
        wanted[form] = (reference.file(file), reference.files[file])
    sent = {}
    for what, (local, sha256) in wanted.items():
        remote = f"{place}/{sha256}{local.suffix}"
        _push(conn, local, remote, sha256)
        sent[what] = remote
    return sent


def _push(conn: Connection, local: Path, remote: str, sha256: str) -> None:
    """Send a file and check its bytes there; one that arrives damaged is sent again."""
    for _ in range(TRIES):
        conn.push(local, remote)
        if conn.run(["sha256sum", remote]).split(" ")[0] == sha256:
            return
    raise ReleaseError(
        f"{local.name} arrives damaged on the device",
        detail=f"{TRIES} tries",
        resolution="check the device's disk and memory, then run the same command again",
    )


def _absolute(conn: Connection, folder: str) -> str:
    """Make a folder on the device; its absolute path."""
    script = 'case "$1" in "~/"*) set -- "$HOME/${1#??}";; esac; mkdir -p "$1" && cd "$1" && pwd'
    return conn.run(["sh", "-c", script, "sh", folder]).strip()
