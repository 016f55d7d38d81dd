"""One job, in a process of its own: load, warm up, time, check the outputs.

Reads the job from standard input; writes JSON lines to what was standard output. Runtimes print
there too, from C, so their prints are sent to standard error first.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import IO, Any

from edgewright_runner import backends, counting, watch
from edgewright_runner.samples import Samples

PROGRESS_S = 1.0
PR_SET_PDEATHSIG = 1  # linux/prctl.h
DEFAULTS: dict[str, float] = {
    "budget_s": 10.0,  # timed inferences go on until they took this long together
    "min_samples": 3,  # but there are never fewer
    "max_samples": 5000,  # nor more
    "warmup": 1,  # inferences before the first timed one
    "parity_samples": 8,  # without labels: inputs compared with the reference
    "check_s": 60.0,  # time for inferences that only the parity needs
    "accuracy_s": 900.0,  # the same when the samples have labels: all of them are run if it allows
}

Json = dict[str, Any]


class Reporter:
    """Says where the job is and hands over what it has measured so far."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._said = 0.0
        self.stage = "start"

    def enter(self, stage: str) -> None:
        """Begin a stage; an error or a crash is reported with its name."""
        self.stage = stage
        self._write({"stage": stage, "done": 0})

    def tick(self, done: int) -> None:
        """Say how many inferences of the stage are done, now and then."""
        now = time.monotonic()
        if now - self._said >= PROGRESS_S:
            self._said = now
            self._write({"done": done})

    def part(self, **values: Any) -> None:
        """Hand over a part of the result."""
        self._write({"part": values})

    def _write(self, message: Json) -> None:
        self._stream.write(json.dumps(message, separators=(",", ":"), allow_nan=False) + "\n")
        self._stream.flush()


def main() -> int:
    """Run the job that standard input describes; the exit code is 1 when it failed."""
    end_with_parent()
    stream = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    reporter = Reporter(stream)
    job = json.loads(sys.stdin.read())
    try:
        measure({**DEFAULTS, **job}, reporter)
    except Exception as error:  # noqa: BLE001 (whatever a runtime raises is this job's result)
        message = str(error).strip() or repr(error)
        reporter.part(
            error={"stage": reporter.stage, "kind": type(error).__name__, "message": message}
        )
        return 1
    reporter.enter("end")
    stream.flush()
    # Runtimes' thread pools have been seen to crash while Python shuts down; all is said by now.
    os._exit(0)


def end_with_parent() -> None:
    """Have the kernel end this process when the one that started it ends, however that ends.

    A job is a session of its own: what kills its runner at once, as whoever measures does, would
    leave it computing. Where there is no such call it is left to its runner.
    """
    parent = os.getppid()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def measure(job: Json, reporter: Reporter) -> None:
    """Do the whole job, handing each part over as soon as it is known."""
    release = Path(job["release"])
    artifact = release / job["file"]
    reporter.enter("verify")
    found = file_digest(artifact)
    reporter.part(artifact={"file": job["file"], "sha256": found, "size": artifact.stat().st_size})
    if job.get("sha256") and job["sha256"] != found:
        raise ValueError(f"its bytes are not those of the release: sha256 {found}")
    reference = release / job["reference"] if job.get("reference") else None
    signature: Json | None = job.get("signature")
    samples = Samples(
        release / job["samples"], int(job["batch"]), reference, signature, job.get("state")
    )

    reporter.enter("import")
    runtime = backends.open_runtime(job["runtime"], int(job.get("threads", 1)))
    reporter.part(versions=backends.versions(job["runtime"]), base_rss_bytes=watch.peak_rss_bytes())
    if job.get("profiled"):
        backends.observable(job["runtime"], runtime).observe()
    reporter.enter("load")
    started = time.perf_counter_ns()
    runtime.load(str(artifact))
    reporter.part(load_ns=time.perf_counter_ns() - started, delegated=runtime.delegated())
    runtime.bind(signature or named_as(samples))

    if job.get("counted"):
        reporter.enter("count")
        runtime.set_inputs(samples.input(0))
        counting.repeat(runtime.run)
        return
    if job.get("profiled"):
        reporter.enter("profile")
        profile(
            backends.observable(job["runtime"], runtime), samples, int(job["profiled"]), reporter
        )
        return
    reporter.enter("warm up")
    warmup = [timed(runtime, samples, n) for n in range(max(1, int(job["warmup"])))]
    reporter.part(warmup_ns=warmup)
    reporter.enter("time")
    before = watch.snapshot()
    series = watch.Series()
    times = time_loop(runtime, samples, job, reporter, series)
    after = watch.snapshot()
    conditions = {"before": before, "after": after, "series": series.moments}
    reporter.part(samples_ns=times, conditions=conditions)
    reporter.part(peak_rss_bytes=watch.peak_rss_bytes())

    reporter.enter("check")
    labelled = samples.labels is not None
    wanted = samples.groups if labelled else -(-int(job["parity_samples"]) // samples.batch)
    allowed = float(job["accuracy_s"] if labelled else job["check_s"])
    finish_outputs(runtime, samples, samples.whole(wanted), allowed, reporter)
    reporter.part(**samples.verdict())
    if "outputs" in job:
        samples.save(Path(job["outputs"]))


def profile(
    runtime: backends.Observable, samples: Samples, inferences: int, reporter: Reporter
) -> None:
    """Run so many inferences after a first one, and hand over what each operator took in them."""
    runtime.set_inputs(samples.input(0))
    for done in range(inferences + 1):
        runtime.run()
        reporter.tick(done)
    operators = []
    for one in runtime.observed():
        # all inferences are alike, so the first one's share of the runs was the first to be noted
        counted = one.took_ns[len(one.took_ns) // (inferences + 1) :]
        if counted:
            operators.append({
                "name": one.name, "kind": one.kind,
                "calls": len(counted) / inferences, "took_ns": sum(counted) / inferences,
            })  # fmt: skip
    reporter.part(operators=operators)


def named_as(samples: Samples) -> Json:
    """The signature of a job of before jobs had one: its samples' names, in their order."""
    return {
        "inputs": [{"name": name} for name in samples.inputs],
        "outputs": [{"name": name} for name in samples.references],
    }


def timed(runtime: Any, samples: Samples, number: int) -> int:
    """One inference on the inputs in turn; how long it took in nanoseconds."""
    group = number % samples.groups
    runtime.set_inputs(samples.input(group))
    started = time.perf_counter_ns()
    runtime.run()
    took = time.perf_counter_ns() - started
    if group not in samples.outputs:
        samples.keep(group, runtime.outputs())
    return took


def time_loop(
    runtime: Any, samples: Samples, job: Json, reporter: Reporter, series: watch.Series
) -> list[int]:
    """Time inferences until the budget is spent, with at least and at most so many samples."""
    least, most = int(job["min_samples"]), int(job["max_samples"])
    budget = float(job["budget_s"])
    times: list[int] = []
    started = time.monotonic()
    while len(times) < least or (len(times) < most and time.monotonic() - started < budget):
        times.append(timed(runtime, samples, len(times)))
        reporter.tick(len(times))
        series.look()
    return times


def finish_outputs(
    runtime: Any, samples: Samples, groups: int, allowed_s: float, reporter: Reporter
) -> None:
    """Run the inputs that no timed inference has met, as far as the time allows."""
    started = time.monotonic()
    for group in range(groups):
        if group in samples.outputs:
            continue
        if time.monotonic() - started > allowed_s:
            return
        runtime.set_inputs(samples.input(group))
        runtime.run()
        samples.keep(group, runtime.outputs())
        reporter.tick(len(samples.outputs))


def file_digest(path: Path) -> str:
    """The sha256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for chunk in iter(lambda: stream.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()
