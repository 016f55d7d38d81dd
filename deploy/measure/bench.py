"""Drives the runner on a device and brings what it measured home to results/.

It computes no statistics and shows nothing: `toolchain.results` and `toolchain.report` do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from deploy.measure import jobs as deployed_jobs
from deploy.measure import matrix_order
from deploy.measure.runner_protocol import (
    Advanced,
    Connection,
    Counter,
    Ended,
    Job,
    Measured,
    Spec,
    Started,
    command,
    read,
)
from toolchain.core import paths
from toolchain.core.errors import BenchError, EdgewrightError, UsageError
from toolchain.results import measurement as results

# What a whole run may take beyond its jobs' own limits.
GRACE_S = 120.0
# The runner says where it is every two seconds; after so long without a word the link is given up.
SILENCE_S = 120.0
# Lines that are no event and are kept for an error's detail.
MOST_NOISE = 21
DEPLOY_AGAIN = "deploy again: `invoke deploy --host NAME`"
DEFAULTS = results.Settings()


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where the runner is.

    Attributes:
        job: its number, from 0.
        of: how many jobs there are.
        label: the job in words.
        stage: one of the runner's, or `done` after a job.
        failed: why the job failed; empty while it did not.
    """

    job: int
    of: int
    label: str
    stage: str
    failed: str = ""


def crowded(result: results.Result) -> str:
    """What is to be said of more threads than the device has cores; empty when none had more."""
    cores = result.device.cores
    beyond = sorted({m.threads for m in result.measurements if m.threads > cores})
    if not beyond:
        return ""
    return (
        f"{result.host} has {cores} cores: {', '.join(map(str, beyond))} threads wait for each "
        "other there, and their times say little of the runtime"
    )


def run(
    conn: Connection,
    *,
    host: str,
    release: str,
    emulated: bool = False,
    settings: results.Settings = DEFAULTS,
    jobs: Sequence[Job] | None = None,
    before: results.Result | None = None,
    counter: Counter | None = None,
    folder: Path | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> tuple[results.Result, Path]:
    """Measure on a device, write the result and return it with its file.

    Args:
        conn: an open connection to the device.
        host: its name in the inventory.
        release: the release folder there, absolute or below ~/; `current` will do.
        emulated: whether the inventory says that it is emulated. The runner looks too, and either
            is enough.
        settings: budget and limits.
        jobs: from `jobs.plan`; everything deployed, on one thread, when not given.
        before: from `matrix_order.unfinished`: what it measured is not measured again.
        counter: from `emulator.counter`: instructions are counted instead of times taken.
        folder: where the result goes; results/ when not given.
        progress: called as the runner advances.

    Raises:
        BenchError: the runner could not start, or ended early. What it had measured by then is
            written all the same, marked incomplete, and the error names the file.
        EdgewrightError: the connection's own errors, when nothing was measured.
    """
    attempt = measured(
        conn,
        host=host,
        release=release,
        emulated=emulated,
        settings=settings,
        jobs=jobs,
        before=before,
        counter=counter,
        progress=progress,
    )
    result = attempt.result
    path = results.save(result, folder if folder is not None else paths.results())
    attempt.refuse_what_is_missing(
        f"what was measured is in {path}; run the same command again for the rest"
    )
    return result, path


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What came of a run, however it ended.

    Attributes:
        result: what was measured; one that is not complete says so.
        planned: how many jobs there were.
        failure: what ended it before its time: the link, the runner, Ctrl-C, a bug of ours.
        noise: lines that were no events.
    """

    result: results.Result
    planned: int
    failure: BaseException | None
    noise: list[str]

    def refuse_what_is_missing(self, resolution: str) -> None:
        """Raise what ended the run before its time.

        Raises:
            BenchError: the link, the device or the runner did, or the runner left jobs out.
            BaseException: anything else, with what to do in a note.
        """
        if self.result.complete:
            return
        failure = self.failure
        if failure is not None and not isinstance(failure, EdgewrightError):
            failure.add_note(resolution)
            raise failure
        why = [str(failure), failure.detail] if failure is not None else []
        raise BenchError(
            f"the measurement ended early, after {len(self.result.measurements)} of "
            f"{self.planned} jobs",
            detail="\n".join(line for line in (*why, *self.noise) if line),
            resolution=resolution,
        ) from failure


def measured(
    conn: Connection,
    *,
    host: str,
    release: str,
    emulated: bool = False,
    settings: results.Settings = DEFAULTS,
    jobs: Sequence[Job] | None = None,
    before: results.Result | None = None,
    counter: Counter | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Attempt:
    """`run`, for callers who keep what was measured themselves.

    Raises:
        BenchError: the runner could not start.
        BaseException: whatever ended it before anything was measured.
    """
    there = deployed_jobs.deployed(conn, release)
    planned = list(jobs) if jobs is not None else deployed_jobs.plan(there)
    left = matrix_order.spread(matrix_order.left(planned, before))
    spec = _spec(settings, left, counter)
    listener, started = _Listener(left, progress), datetime.now(UTC)
    failure = _drive(conn, release, spec, listener)
    device = _device(listener, failure)
    if not listener.measurements and failure is not None:
        raise failure
    result = results.Result(
        host=host,
        target=there.target,
        release=listener.release or there.release,
        emulated=emulated or device.emulation is not None,
        started=started,
        finished=datetime.now(UTC),
        complete=listener.ended and failure is None and len(listener.measurements) == len(left),
        counted=counter is not None,
        device=device,
        settings=settings,
        measurements=list(listener.measurements.values()),
    )
    return Attempt(
        result=matrix_order.joined(result, before, planned),
        planned=len(planned),
        failure=failure,
        noise=listener.noise,
    )


def _spec(settings: results.Settings, jobs: list[Job], counter: Counter | None) -> Spec:
    if counter is not None and any(job.threads != 1 for job in jobs):
        raise UsageError("instructions are counted on one thread", resolution="--threads 1")
    return Spec(**settings.model_dump(), jobs=jobs, counter=counter)


def _drive(conn: Connection, release: str, spec: Spec, listener: _Listener) -> BaseException | None:
    """Run the runner to its end; what broke it off, if something did.

    Whatever it is, what was measured by then is kept before it is raised.
    """
    try:
        conn.run(
            command(release, "--spec", "-"),
            timeout=spec.timeout_s * len(spec.jobs) + GRACE_S,
            silence=SILENCE_S,
            on_line=listener.line,
            input_text=spec.text(),
        )
    except BaseException as error:  # noqa: BLE001 (raised again by `Attempt`)
        return error
    return None


def _device(listener: _Listener, failure: BaseException | None) -> results.Device:
    if listener.device is None:
        raise failure or BenchError(
            "the runner on the device said nothing that can be read",
            detail="\n".join(listener.noise[-10:]),
            resolution=DEPLOY_AGAIN,
        )
    return listener.device


class _Listener:
    """Takes the runner's lines as they come."""

    def __init__(self, jobs: Sequence[Job], progress: Callable[[Progress], None]) -> None:
        self._jobs = jobs
        self._progress = progress
        self.device: results.Device | None = None
        self.release = ""
        self.measurements: dict[int, results.Measurement] = {}
        self.noise: list[str] = []
        self.ended = False

    def line(self, text: str) -> None:
        """Take one line.

        Raises:
            BenchError: it is an event that can't be understood.
        """
        try:
            event = read(text)
            if isinstance(event, str):
                if event.strip():
                    self.noise = [*self.noise[1 - MOST_NOISE :], event]
            elif isinstance(event, Started):
                self.device, self.release = event.described(), event.release
            elif isinstance(event, Advanced):
                self._say(event.job, event.stage)
            elif isinstance(event, Measured):
                measurement = self._job(event.job).measurement(event.result)
                if event.job in self.measurements:
                    raise ValueError(f"there is a second answer to job {event.job}")
                self.measurements[event.job] = measurement
                failed = measurement.error.message if measurement.error else ""
                self._say(event.job, "done", failed)
            elif isinstance(event, Ended):
                self.ended = True
        except (ValueError, OverflowError, RecursionError) as error:
            raise BenchError(
                "the runner on the device is not the one this version knows",
                detail=str(error),
                resolution=DEPLOY_AGAIN,
            ) from error

    def _job(self, number: int) -> Job:
        if number >= len(self._jobs):
            raise ValueError(f"there is no job {number}: {len(self._jobs)} were asked for")
        return self._jobs[number]

    def _say(self, number: int, stage: str, failed: str = "") -> None:
        label = _label(self._job(number))
        self._progress(
            Progress(job=number, of=len(self._jobs), label=label, stage=stage, failed=failed)
        )


def _label(job: Job) -> str:
    variant = job.configuration.variant_label
    threads = "1 thread" if job.threads == 1 else f"{job.threads} threads"
    return f"{job.model} b{job.batch} {job.runtime} {variant} {threads}"
