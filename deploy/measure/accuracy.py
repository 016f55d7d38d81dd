"""Runs a user's labelled images on a device, shard by shard, and keeps what came of each.

A shard is sent, its bytes are checked there, every runtime runs it, and it is removed again: a
device needs room for one. Whatever breaks off goes on at the next shard.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from deploy.measure import bench, matrix_order, runner_protocol
from deploy.measure.runner_protocol import Job
from toolchain.accuracy.counts import Run, Subject, counts_of
from toolchain.accuracy.sharding.shards import Shards
from toolchain.core import store
from toolchain.core.errors import EdgewrightError, ReleaseError
from toolchain.results import measurement

PLACE = "accuracy"
TRIES = 3


class Connection(runner_protocol.Connection, Protocol):
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
        references: for each variant, the store's entry of what it gives here.
        suffix: of the references' files.
    """

    shards: Shards
    references: Mapping[str, store.Entry]
    suffix: str = ".npy"


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A shard on the device: absolute paths of its images and of what each variant gives here."""

    images: str
    references: Mapping[str, str]


def measure(
    conn: Connection,
    *,
    root: str,
    jobs: Sequence[Job],
    images: Images,
    run: Run,
    path: Path,
    progress: Callable[[str], None],
) -> Run:
    """Run what is missing of a run; `path` holds it after every shard.

    Args:
        conn: an open connection.
        root: our folder on the device.
        jobs: from `jobs.plan`, of one model at one batch.
        images: the prepared images and what each variant gives here.
        run: from an earlier time, or new.
        path: its file.
        progress: called with each step.

    Raises:
        BenchError: the runner broke off.
        ReleaseError: a shard could not be written to the device.
        ConnectionFailed: the link dropped.
    """
    place = folder_there(conn, f"{root}/{PLACE}")
    subjects = {job: run.subject(job.configuration, job.sha256) for job in jobs}
    for number, name in enumerate(images.shards.files):
        left = [j for j, s in subjects.items() if name not in s.shards and not s.error]
        if not left:
            continue
        where = f"shard {number + 1} of {len(images.shards.files)}"
        progress(f"{where}: sending")
        sent = send(conn, place, images, number, {job.variant for job in left})
        on_shard = [
            job.model_copy(
                update={
                    "samples": sent.images,
                    "reference": sent.references[job.variant],
                    "state": None,
                }
            )
            for job in left
        ]
        progress(f"{where}: running")
        by_key = {matrix_order.key(job): subject for job, subject in subjects.items()}
        try:
            attempt = attempted(conn, root, on_shard)
            for measurement in attempt.result.measurements:
                _keep(by_key[matrix_order.key(measurement)], name, measurement)
            attempt.refuse_what_is_missing("run the same command again for the rest")
        finally:
            run.save(path)
            # over a link that is lost they stay; `folder_there` clears up
            with suppress(EdgewrightError):
                conn.run(["rm", "-f", sent.images, *sent.references.values()])
    return run


def _keep(subject: Subject, shard: str, measured: measurement.Measurement) -> None:
    """Enter a shard's counts, or why there are none, which ends the subject."""
    counts = counts_of(measured)
    if counts is not None:
        subject.shards[shard] = counts
    else:
        subject.error = why(measured)


def why(measured: measurement.Measurement) -> str:
    """Why a job failed, in words."""
    error = measured.error
    return f"{error.stage}: {error.message}" if error else "no answer"


def attempted(conn: Connection, root: str, jobs: Sequence[Job]) -> bench.Attempt:
    """One shard under every runtime."""
    # what is timed is one inference; all others only check
    settings = measurement.Settings(budget_s=0, min_samples=1, max_samples=1, accuracy_s=86_400)
    return bench.measured(
        conn, host="accuracy", release=f"{root}/current", settings=settings, jobs=jobs
    )


def send(conn: Connection, place: str, images: Images, number: int, variants: set[str]) -> Sent:
    """Send a shard and what the variants give for it."""
    shard, reference = images.shards.files[number], f"reference-{number:04}{images.suffix}"
    return Sent(
        images=_send_file(conn, place, images.shards.entry, shard),
        references={
            variant: _send_file(conn, place, images.references[variant], reference)
            for variant in sorted(variants)
        },
    )


def _send_file(conn: Connection, place: str, entry: store.Entry, name: str) -> str:
    """Send a file of the store under the name of its hash; its path there."""
    local, sha256 = entry.file(name), entry.files[name]
    remote = f"{place}/{sha256}{local.suffix}"
    _push(conn, local, remote, sha256)
    return remote


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


def folder_there(conn: Connection, folder: str) -> str:
    """Make a folder on the device, without what a run that was cut off left; its absolute path.

    The device is ours alone: `exclusive_use`.
    """
    script = (
        'case "$1" in "~/"*) set -- "$HOME/${1#??}";; esac; '
        'mkdir -p "$1" && cd "$1" && rm -f -- *.npz *.npy *.part && pwd'
    )
    return conn.run(["sh", "-c", script, "sh", folder]).strip()
