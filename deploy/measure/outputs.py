"""Runs images on a device, shard by shard, and brings home all that its runtimes give for them.

What top-1 and top-5 can't say is computed here, of the outputs. Those of a shard are a file there
until they are here; what breaks off goes on at the next shard.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deploy.measure import accuracy, matrix_order
from deploy.measure.accuracy import Connection, Images, Sent
from deploy.measure.runner_protocol import Job
from toolchain.core import store
from toolchain.core.errors import EdgewrightError, ReleaseError

PULL_S = 600.0  # for the outputs of a shard


@dataclass(frozen=True, kw_only=True)
class Brought:
    """The outputs of one job: a file for each shard, or why it ended before."""

    job: Job
    files: tuple[Path, ...]
    error: str = ""


def bring(
    conn: Connection,
    *,
    root: str,
    jobs: Sequence[Job],
    images: Images,
    folder: Path,
    progress: Callable[[str], None],
) -> list[Brought]:
    """Run what is missing and bring it home.

    Args:
        conn: an open connection.
        root: our folder on the device.
        jobs: from `jobs.plan`, of one model at batch 1.
        images: the prepared images and references.
        folder: takes the outputs; those of an earlier run that are there are not made again.
        progress: called with each step.

    Raises:
        BenchError: the runner broke off.
        ReleaseError: a file could not be sent or brought whole.
        ConnectionFailed: the link dropped.
    """
    place = accuracy.folder_there(conn, f"{root}/{accuracy.PLACE}")
    folder.mkdir(parents=True, exist_ok=True)
    errors: dict[Job, str] = {}
    for number, shard in enumerate(images.shards.files):
        here = {job: _file(folder, job, shard) for job in jobs}
        left = [job for job in jobs if job not in errors and not here[job].is_file()]
        if not left:
            continue
        where = f"shard {number + 1} of {len(images.shards.files)}"
        progress(f"{where}: sending")
        sent = accuracy.send(conn, place, images, number, {job.variant for job in left})
        there = {job: f"{place}/outputs-{_key(job)}.npz" for job in left}
        progress(f"{where}: running")
        try:
            attempt = accuracy.attempted(conn, root, [_asked(j, sent, there[j]) for j in left])
            by_key = {matrix_order.key(job): job for job in left}
            for measured in attempt.result.measurements:
                job = by_key[matrix_order.key(measured)]
                if measured.status == "ok":
                    store.write_atomically(here[job], _pulled(conn, there[job]))
                else:
                    errors[job] = accuracy.why(measured)
            attempt.refuse_what_is_missing("run the same command again for the rest")
        finally:
            # over a link that is lost they stay until the next run's
            with suppress(EdgewrightError):
                conn.run(["rm", "-f", sent.images, *sent.references.values(), *there.values()])
    names = images.shards.files
    return [
        Brought(
            job=job,
            files=tuple(_file(folder, job, name) for name in names),
            error=errors.get(job, ""),
        )
        for job in jobs
    ]


def _asked(job: Job, sent: Sent, outputs: str) -> Job:
    """A job on a shard that is there, its outputs kept in a file there."""
    paths = {"samples": sent.images, "reference": sent.references[job.variant], "outputs": outputs}
    return job.model_copy(update={**paths, "state": None})


def _file(folder: Path, job: Job, shard: str) -> Path:
    """The file of what a job gave for a shard."""
    return folder / f"{_key(job)}-{shard}"


def _key(job: Job) -> str:
    """Another artifact, runtime or setting has another."""
    parts = [job.sha256, job.runtime, job.variant, job.opt_level, job.threads]
    return store.digest_of(parts)[:16]


def _pulled(conn: Connection, remote: str) -> bytes:
    """A file's bytes, checked.

    Raises:
        ReleaseError: they arrive damaged.
    """
    wanted = conn.run(["sha256sum", remote]).split(" ")[0]
    for _ in range(accuracy.TRIES):
        text = conn.run(["base64", remote], timeout=PULL_S)
        with suppress(binascii.Error):
            content = base64.b64decode(text)
            if hashlib.sha256(content).hexdigest() == wanted:
                return content
    raise ReleaseError(
        "the outputs arrive damaged from the device",
        detail=f"{accuracy.TRIES} tries",
        resolution="check the link to it, then run the same command again",
    )
