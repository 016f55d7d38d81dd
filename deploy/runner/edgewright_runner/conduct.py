"""Conducts a measurement: job after job, each in a process of its own, events as JSON lines.

Events on standard output, one a line:
    {"event": "start", "release", "device", "jobs"}     first
    {"event": "progress", "job", "of", "stage", "done", "seconds"}   at least every two seconds
    {"event": "result", "job", "result"}                one a job, failed ones included
    {"event": "end", "failed"}                          last; without it the run was cut short
A job that crashes, hangs or runs out of memory ends as a result with its error and with what it had
measured by then. When nobody reads the events any more the job is killed and the runner ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

from edgewright_runner import counting, device

HEARTBEAT_S = 2.0
DEFAULT_TIMEOUT_S = 1800.0
STDERR_TAIL = 2000
JOB_SETTINGS = (
    "budget_s",
    "min_samples",
    "max_samples",
    "warmup",
    "parity_samples",
    "check_s",
    "accuracy_s",
)

# What a result says of its job, as the job said it: one that was sent before the optimisation level
# was a field of its own has a variant such as "int8-O3" and no level.
IDENTITY = ("model", "batch", "runtime", "variant", "opt_level", "threads")

# As this process was started: what a variable leads to is no module here.
ISOLATED = ("-E",) if sys.flags.ignore_environment else ()

Json = dict[str, Any]


def emit(event: Json) -> None:
    """Print one event; a reader that is gone raises BrokenPipeError."""
    sys.stdout.write(json.dumps(event, separators=(",", ":"), allow_nan=False) + "\n")
    sys.stdout.flush()


def conduct(release: Path, spec: Json) -> int:
    """Run the spec's jobs in their order and emit the events; return the exit code."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGHUP, _stop)
    jobs: list[Json] = spec["jobs"]
    settings = {key: spec[key] for key in JOB_SETTINGS if key in spec}
    timeout = float(spec.get("timeout_s", DEFAULT_TIMEOUT_S))
    failed = 0
    try:
        emit(
            {
                "event": "start",
                "release": release_id(release),
                "device": device.describe(),
                "bits": device.pointer_bits(),
                "jobs": len(jobs),
            }
        )
        for number, one in enumerate(jobs):
            position = {"job": number, "of": len(jobs)}
            wanted = {**settings, **one}
            run = partial(run_job, release, timeout=timeout, position=position)
            if "counter" in spec:
                result = counting.count(run, wanted, spec["counter"])
            else:
                result = run(wanted)
            failed += _told(number, wanted, result)
        emit({"event": "end", "failed": failed})
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _told(number: int, job: Json, result: Json) -> bool:
    """Emit the answer to a job; one that is no JSON (infinite, endlessly nested) is a failure.

    Returns:
        whether the job failed.
    """
    try:
        emit({"event": "result", "job": number, "result": result})
    except (ValueError, RecursionError) as error:
        result = {key: job[key] for key in IDENTITY if key in job}
        result["status"] = "failed"
        result["error"] = {
            "stage": "answer",
            "kind": type(error).__name__,
            "message": f"what the job said of itself can't be sent: {error}",
        }
        emit({"event": "result", "job": number, "result": result})
    return bool(result["status"] != "ok")


def release_id(release: Path) -> str:
    """The id in the release's manifest, or an empty string when it has none."""
    try:
        return str(json.loads((release / "manifest.json").read_text())["release"])
    except (OSError, ValueError, KeyError):
        return ""


def run_job(
    release: Path, job: Json, timeout: float, position: Json, under: Sequence[str] = ()
) -> Json:
    """Run one job in a fresh process and return its result; only a lost reader raises.

    Args:
        release: the release folder.
        job: what to run.
        timeout: seconds.
        position: its number, for the progress.
        under: a command line that runs another.
    """
    threads = str(job.get("threads", 1))
    environment = {
        **os.environ,
        # Read once, when a thread pool starts: it must stand before numpy's import.
        "OMP_NUM_THREADS": threads,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    result: Json = {key: job[key] for key in IDENTITY if key in job}
    result["status"] = "failed"
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [*under, sys.executable, *ISOLATED, str(Path(sys.argv[0]).resolve()), "--job"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            start_new_session=True,
        )
        try:
            _feed(process, {"release": str(release), **job})
            stage = _follow(process, result, timeout, position)
        finally:
            _kill(process)
        if result["status"] != "ok":
            tail = _tail(errors)
            if "error" not in result:
                result["error"] = {
                    "stage": stage,
                    "kind": "timeout" if stage.endswith("!") else "crash",
                    "message": _why(process.returncode, stage, timeout),
                }
                result["error"]["stage"] = stage.rstrip("!")
            result["error"]["output"] = tail
    return result


def _feed(process: subprocess.Popen[bytes], job: Json) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(job).encode())
        process.stdin.close()
    except BrokenPipeError:
        pass  # it died already: its status says why


def _follow(process: subprocess.Popen[bytes], result: Json, timeout: float, position: Json) -> str:
    """Take the job's lines into the result; return its last stage, with a `!` after a timeout."""
    assert process.stdout is not None
    lines: queue.Queue[bytes | None] = queue.Queue()
    threading.Thread(target=_pump, args=(process.stdout, lines), daemon=True).start()
    started = time.monotonic()
    said = started
    stage, done = "start", 0
    while True:
        now = time.monotonic()
        if now - started > timeout:
            return stage + "!"
        if now - said >= HEARTBEAT_S:
            seconds = round(now - started, 1)
            where = {"stage": stage, "done": done, "seconds": seconds}
            emit({"event": "progress", **position, **where})
            said = now
        try:
            line = lines.get(timeout=min(0.5, HEARTBEAT_S))
        except queue.Empty:
            continue
        if line is None:
            process.wait()
            if process.returncode == 0 and "error" not in result and stage == "end":
                result["status"] = "ok"
            return stage
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            continue  # cut off in the middle by a crash
        if not isinstance(message, dict) or not isinstance(message.get("part", {}), dict):
            continue  # what a runtime printed
        stage, done = message.get("stage", stage), message.get("done", done)
        result.update(message.get("part", {}))


def _pump(stream: IO[bytes], lines: queue.Queue[bytes | None]) -> None:
    with stream:
        for line in stream:
            lines.put(line)
    lines.put(None)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the job's whole session: a runtime may have started processes of its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tail(stream: IO[bytes]) -> str:
    stream.seek(0, os.SEEK_END)
    stream.seek(max(0, stream.tell() - STDERR_TAIL))
    return stream.read().decode(errors="replace").strip()


def _why(code: int, stage: str, timeout: float) -> str:
    if stage.endswith("!"):
        return f"took longer than {timeout:g} s"
    if code < 0:
        number = -code
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = str(number)
        hint = ", out of memory perhaps" if number == signal.SIGKILL else ""
        return f"killed by {name}{hint}"
    return f"ended with exit status {code}"


def _stop(number: int, _frame: object) -> None:
    sys.exit(128 + number)
