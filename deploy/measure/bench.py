"""Drives the runner on a device and brings what it measured home to results/.

What is measured is what is deployed there: jobs are made from the release's own manifests.
It computes no statistics and shows nothing: `toolchain.results` and `toolchain.report` do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from deploy.measure import matrix_order
from toolchain.core import paths
from toolchain.core.errors import BenchError, EdgewrightError, UsageError
from toolchain.models import variants
from toolchain.models.variants import PLAIN
from toolchain.results import measurement as results

RUNTIMES: tuple[results.Runtime, ...] = ("tflite", "tvm")
# What a whole run may take beyond its jobs' own limits.
GRACE_S = 120.0
# The runner says where it is every two seconds; after so long without a word the link is given up.
SILENCE_S = 120.0


class Connection(Protocol):
    """The part of `deploy.ssh.connection.Connection` that is used here."""

    def run(
        self,
        args: Sequence[str],
        *,
        timeout: float = 60.0,
        silence: float | None = None,
        on_line: Callable[[str], None] | None = None,
        input_text: str | None = None,
    ) -> str:
        """Run a command on the device and return its standard output."""
        ...


class _File(BaseModel):
    model_config = ConfigDict(extra="ignore")
    file: str
    sha256: str


class _Samples(_File):
    count: int
    labelled: bool


class _Library(_File):
    variant: str = PLAIN


class _ModelManifest(BaseModel):
    """What is read here of the model manifests that convert and compile write."""

    model_config = ConfigDict(extra="ignore")
    model: str
    batch: int
    tflite: dict[str, _File] = {}
    libraries: dict[str, dict[str, _Library]] = {}
    references: dict[str, _File] = {}
    samples: _Samples


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore")
    folder: str
    card: _ModelManifest


class Deployed(BaseModel):
    """What a release on a device holds, as the runner lists it."""

    model_config = ConfigDict(extra="ignore")
    release: str
    target: str
    models: list[_Model]


class Job(BaseModel):
    """One thing to measure; the paths are relative to the release.

    `reference` is what a variant of the network gave on the machine that made it; the samples hold
    that of the network as it was trained.
    """

    model_config = ConfigDict(frozen=True)
    model: str
    batch: int
    runtime: Literal["tflite", "tvm"]
    variant: str
    threads: int
    file: str
    sha256: str
    samples: str
    reference: str | None = None

    @property
    def form(self) -> str:
        """The form of the network."""
        return variants.form_of(self.runtime, self.variant)

    @property
    def level(self) -> int | None:
        """TVM's optimisation level; None for TensorFlow Lite."""
        return int(self.variant[-1]) if self.runtime == "tvm" else None


class Progress(BaseModel):
    """Where the runner is. `stage` is one of its stages, or `done` after a job."""

    job: int
    of: int
    stage: str
    done: int = 0
    seconds: float = 0.0
    label: str = ""
    failed: str = ""


def command(release: str, *arguments: str) -> list[str]:
    """The runner's command line on the device."""
    release = release.removeprefix("~/")  # nothing expands it there; commands start at home
    python = f"{release}/venv/bin/python"
    return [python, f"{release}/runner/main.py", "--release", release, *arguments]


def deployed(conn: Connection, release: str) -> Deployed:
    """Ask the device what a release folder holds.

    Raises:
        BenchError: nothing is deployed there, or what is there can't be read.
    """
    try:
        answer = conn.run(command(release, "--list"), timeout=GRACE_S)
        line = next(one for one in answer.splitlines() if one.startswith("{"))
        return Deployed.model_validate_json(line)
    except (StopIteration, ValidationError) as error:
        raise BenchError(
            "what is deployed on the device can't be read",
            detail=str(error),
            resolution="deploy again: `invoke deploy --host NAME`",
        ) from error


def plan(
    there: Deployed,
    *,
    models: Sequence[str] = (),
    runtimes: Sequence[str] = (),
    variants: Sequence[str] = (),
    batches: Sequence[int] = (),
    levels: Sequence[int] = (),
    threads: Sequence[int] = (1,),
) -> list[Job]:
    """The jobs, in the order of their parameters. An empty choice takes all there is.

    `variants` are forms of a network; `levels` are TVM's and leave TensorFlow Lite's jobs alone.

    Raises:
        UsageError: a choice names nothing that is deployed.
    """
    every = [job for n in threads for entry in there.models for job in _jobs(entry, there, n)]
    choices: list[tuple[str, Sequence[object], Callable[[Job], object]]] = [
        ("model", models, lambda j: j.model),
        ("runtime", runtimes, lambda j: j.runtime),
        ("variant", variants, lambda j: j.form),
        ("batch", batches, lambda j: j.batch),
    ]
    of_tvm = [job for job in every if job.level is not None]
    for what, wanted, value in choices:
        known = sorted({str(value(job)) for job in every})
        unknown = [str(w) for w in wanted if str(w) not in known]
        if unknown:
            raise UsageError(
                f"the device has no {what} {', '.join(unknown)}",
                resolution=f"it has: {', '.join(known) or 'nothing'}; "
                "`invoke deploy --host NAME` sends more",
            )
    missing = [n for n in levels if n not in {job.level for job in of_tvm}]
    if missing:
        raise UsageError(
            f"the device has no library of opt_level {missing[0]}",
            resolution=f"run: invoke compile --opt-level {missing[0]}, then deploy again",
        )
    if any(n < 1 for n in threads):
        raise UsageError("a thread count is at least 1")
    for _, wanted, value in choices:
        every = [job for job in every if not wanted or value(job) in wanted]
    every = [job for job in every if not levels or job.level is None or job.level in levels]
    if not every:
        raise UsageError(
            "nothing on the device fits this choice",
            resolution="`invoke deploy --host NAME` sends models to it",
        )
    return every


def run(
    conn: Connection,
    *,
    host: str,
    release: str,
    emulated: bool = False,
    settings: results.Settings | None = None,
    jobs: Sequence[Job] | None = None,
    before: results.Result | None = None,
    counter: Mapping[str, object] | None = None,
    folder: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> tuple[results.Result, Path]:
    """Measure on a device, write the result and return it with its file.

    Args:
        conn: an open connection to the device.
        host: its name in the inventory.
        release: the release folder there, absolute or below ~/; `current` will do.
        emulated: whether the inventory says that it is emulated. The runner looks too, and either
            is enough.
        settings: budget and limits.
        jobs: from `plan`; everything deployed, on one thread, when not given.
        before: from `order.unfinished`: what it measured is not measured again.
        counter: from `emulator.counter`: instructions are counted instead of times taken.
        folder: where the result goes; results/ when not given.
        progress: called as the runner advances.

    Raises:
        BenchError: the runner could not start, or ended early. What it had measured by then is
            written all the same, marked incomplete, and the error names the file.
        EdgewrightError: the connection's own errors, when nothing was measured.
    """
    there = deployed(conn, release)
    planned = list(jobs) if jobs is not None else plan(there)
    chosen = matrix_order.spread(matrix_order.left(planned, before))
    wanted = settings or results.Settings()
    listener = _Listener(chosen, progress or (lambda _: None))
    started = datetime.now(UTC)
    spec = {**wanted.model_dump(), "jobs": [job.model_dump() for job in chosen]}
    if counter is not None:
        if any(job.threads != 1 for job in chosen):
            raise UsageError("instructions are counted on one thread", resolution="--threads 1")
        spec["counter"] = dict(counter)
    failure: EdgewrightError | None = None
    try:
        conn.run(
            command(release, "--spec", "-"),
            timeout=wanted.timeout_s * len(chosen) + GRACE_S,
            silence=SILENCE_S,
            on_line=listener.line,
            input_text=json.dumps(spec),
        )
    except EdgewrightError as error:
        failure = error
    if listener.device is None:
        raise failure or BenchError(
            "the runner on the device said nothing that can be read",
            detail="\n".join(listener.noise[-10:]),
            resolution="deploy again: `invoke deploy --host NAME`",
        )
    result = results.Result(
        host=host,
        target=there.target,
        release=listener.release or there.release,
        emulated=emulated or listener.device.emulation is not None,
        started=started,
        finished=datetime.now(UTC),
        complete=listener.ended and failure is None,
        counted=counter is not None,
        device=listener.device,
        settings=wanted,
        measurements=listener.measurements,
    )
    if not result.measurements and failure is not None:
        raise failure
    result = matrix_order.joined(result, before, planned)
    path = results.save(result, folder if folder is not None else paths.results())
    if not result.complete:
        raise BenchError(
            f"the measurement ended early, after {len(result.measurements)} of {len(planned)} jobs",
            detail="\n".join(
                filter(None, [str(failure or ""), getattr(failure, "detail", ""), *listener.noise])
            ),
            resolution=f"what was measured is in {path}; run the same command again for the rest",
        ) from failure
    return result, path


class _Listener:
    """Takes the runner's lines as they come."""

    def __init__(self, jobs: Sequence[Job], progress: Callable[[Progress], None]) -> None:
        self._jobs = jobs
        self._progress = progress
        self.device: results.Device | None = None
        self.release = ""
        self.measurements: list[results.Measurement] = []
        self.noise: list[str] = []
        self.ended = False

    def line(self, text: str) -> None:
        event = _event(text)
        kind = event.get("event") if event is not None else None
        if event is None or kind is None:
            if text.strip():
                self.noise = [*self.noise[-20:], text]
            return
        try:
            if kind == "start":
                self.device = results.Device.model_validate(event["device"])
                self.release = str(event["release"])
            elif kind == "progress":
                self._progress(Progress(**{**event, "label": self._label(event["job"])}))
            elif kind == "result":
                self._result(int(event["job"]), event["result"])
            elif kind == "end":
                self.ended = True
        except (ValidationError, KeyError, TypeError, IndexError) as error:
            raise BenchError(
                "the runner on the device is not the one this version knows",
                detail=f"{kind}: {error}",
                resolution="deploy again: `invoke deploy --host NAME`",
            ) from error

    def _result(self, number: int, content: dict[str, Any]) -> None:
        measurement = results.Measurement.model_validate(content)
        self.measurements.append(measurement)
        self._progress(
            Progress(
                job=number,
                of=len(self._jobs),
                stage="done",
                done=len(measurement.samples_ns),
                label=self._label(number),
                failed=measurement.error.message if measurement.error else "",
            )
        )

    def _label(self, number: int) -> str:
        job = self._jobs[number]
        threads = "1 thread" if job.threads == 1 else f"{job.threads} threads"
        return f"{job.model} b{job.batch} {job.runtime} {job.variant} {threads}"


def _event(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _jobs(entry: _Model, there: Deployed, threads: int) -> list[Job]:
    """Every runtime and variant of one deployed model."""
    manifest = entry.card
    libraries = manifest.libraries.get(there.target, {})
    found: list[tuple[results.Runtime, str, str, _File]] = [
        *(("tflite", name, name, made) for name, made in sorted(manifest.tflite.items())),
        *(("tvm", name, made.variant, made) for name, made in sorted(libraries.items())),
    ]
    references = {form: f"{entry.folder}/{file.file}" for form, file in manifest.references.items()}
    return [
        Job(
            model=manifest.model,
            batch=manifest.batch,
            runtime=runtime,
            variant=name,
            threads=threads,
            file=f"{entry.folder}/{made.file}",
            sha256=made.sha256,
            samples=f"{entry.folder}/{manifest.samples.file}",
            reference=references.get(form),
        )
        for runtime, name, form, made in found
    ]
