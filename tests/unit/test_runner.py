"""The runner, run as on a device, with stand-ins for the runtimes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolchain.core import paths
from toolchain.results import measurement as results

FAKES = Path(__file__).with_name("fake_runtimes")
SAMPLES, CLASSES = 20, 4


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A release folder with the runner, twenty labelled samples and no models yet."""
    folder = tmp_path / "release"
    shutil.copytree(
        paths.ROOT / "deploy" / "runner",
        folder / "runner",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    x = np.random.default_rng(0).normal(size=(SAMPLES, CLASSES)).astype(np.float32)
    labels = x.argmax(axis=1)
    labels[:2] = (labels[:2] + 1) % CLASSES
    np.savez(folder / "labelled.npz", x=x, reference=x, labels=labels)
    np.savez(folder / "unlabelled.npz", x=x, reference=x)
    (folder / "manifest.json").write_text(
        json.dumps({"release": "c" * 64, "target": "rv64gc", "models": []})
    )
    return folder


def job(release: Path, says: Mapping[str, object], **changes: object) -> dict[str, Any]:
    """A job for a network that behaves as the file says."""
    text = json.dumps(says)
    name = f"{hashlib.sha256(text.encode()).hexdigest()[:8]}.net"
    (release / name).write_text(text)
    return {
        "model": "net",
        "batch": 1,
        "runtime": "tflite",
        "variant": "fp32",
        "opt_level": None,
        "threads": 1,
        "file": name,
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "samples": "labelled.npz",
        **changes,
    }


def start(release: Path, *, fakes: bool = True) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(FAKES) if fakes else ""}
    return subprocess.Popen(
        [sys.executable, release / "runner" / "main.py", "--release", release, "--spec", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


# Stands in for the emulator and its plugin: 1000 instructions to the first mark, 300,000 an
# inference, and 700 more for the first.
COUNTER = """
import subprocess, sys
plugin, program = sys.argv[2], sys.argv[3:]
ended = subprocess.run(program).returncode
with open(plugin.split(",out=")[1], "w") as out:
    print(1000, *(1700 + 300_000 * (1 + n) for n in range(5)), sep="\\n", file=out)
sys.exit(ended)
"""


def counter(folder: Path, code: str = COUNTER) -> dict[str, Any]:
    (folder / "counter.py").write_text(code)
    return {"emulator": [sys.executable, str(folder / "counter.py")], "plugin": "count.so"}


def run(release: Path, *jobs: dict[str, Any], fakes: bool = True, **spec: object) -> list[Any]:
    """The events of a whole run."""
    process = start(release, fakes=fakes)
    full = {"budget_s": 0.05, "max_samples": 50, "jobs": list(jobs), **spec}
    output, errors = process.communicate(json.dumps(full), timeout=60)
    assert process.returncode == 0, errors
    return [json.loads(line) for line in output.splitlines()]


def measure(release: Path, one: dict[str, Any], **spec: Any) -> results.Measurement:
    """The measurement of a single job."""
    events = run(release, one, **spec)
    return results.Measurement.model_validate(
        next(e["result"] for e in events if e["event"] == "result")
    )


def failure_of(measurement: results.Measurement) -> results.Failure:
    assert measurement.status == "failed"
    assert measurement.error is not None
    return measurement.error


@pytest.mark.parametrize("runtime", ["tflite", "tvm"])
def test_a_job_measures_time_parity_and_accuracy(release: Path, runtime: str) -> None:
    found = measure(release, job(release, {}, runtime=runtime))
    assert found.status == "ok"
    assert len(found.samples_ns) >= 3
    assert min(found.samples_ns) > 100_000
    assert found.parity is not None
    assert (found.parity.count, found.parity.max_abs, found.parity.top1_agree) == (20, 0.0, 20)
    assert found.accuracy is not None
    assert (found.accuracy.correct, found.accuracy.total) == (18, 20)
    assert found.accuracy.reference_correct == 18
    assert len(found.predictions) == 20
    assert found.artifact is not None
    assert found.artifact.size > 0
    assert found.versions["numpy"] == np.__version__
    assert found.load_ns
    assert found.peak_rss_bytes
    assert found.conditions is not None
    assert found.conditions.after.monotonic_ns > found.conditions.before.monotonic_ns


def test_a_result_names_its_job_as_the_job_was_named(release: Path) -> None:
    now = job(release, {}, runtime="tvm", variant="int8", opt_level=3)
    before = job(release, {}, runtime="tvm", variant="int8-O3")
    del before["opt_level"]
    results = [e["result"] for e in run(release, now, before) if e["event"] == "result"]
    assert [(r["status"], r["variant"]) for r in results] == [("ok", "int8"), ("ok", "int8-O3")]
    assert (results[0]["opt_level"], "opt_level" in results[1]) == (3, False)


def test_delegated_nodes_are_counted_for_tflite(release: Path) -> None:
    found = measure(release, job(release, {}))
    assert found.delegated == results.Delegated(total=3, taken=2, parts=1)


def test_events_begin_with_the_device_and_end_with_the_end(release: Path) -> None:
    events = run(release, job(release, {}), job(release, {"load_error": "bad"}))
    kinds = [e["event"] for e in events if e["event"] != "progress"]
    assert kinds == ["start", "result", "result", "end"]
    device = results.Device.model_validate(events[0]["device"])
    assert device.cores >= 1
    assert events[0]["release"] == "c" * 64
    assert events[-1]["failed"] == 1


def test_the_least_number_of_samples_is_taken_whatever_the_budget(release: Path) -> None:
    found = measure(release, job(release, {"sleep_s": 0.02}), budget_s=0, min_samples=4)
    assert len(found.samples_ns) == 4


def test_the_budget_ends_the_timing(release: Path) -> None:
    found = measure(release, job(release, {"sleep_s": 0.02}), budget_s=0.2, max_samples=1000)
    assert 3 <= len(found.samples_ns) <= 10


def test_unlabelled_samples_are_compared_up_to_the_number_asked(release: Path) -> None:
    one = job(release, {"sleep_s": 0.01}, samples="unlabelled.npz")
    found = measure(release, one, budget_s=0, parity_samples=8)
    assert found.parity is not None
    assert (found.parity.count, found.parity.available) == (8, 20)
    assert found.accuracy is None


def test_a_slow_model_is_compared_on_what_was_timed(release: Path) -> None:
    found = measure(release, job(release, {"sleep_s": 0.05}), budget_s=0, accuracy_s=0)
    assert found.accuracy is not None
    assert found.accuracy.total < found.accuracy.available == 20


def test_a_batch_takes_its_samples_in_turn(release: Path) -> None:
    found = measure(release, job(release, {}, batch=5))
    assert found.parity is not None
    assert (found.parity.count, found.parity.max_abs) == (20, 0.0)


def test_a_batch_larger_than_the_samples_is_an_error(release: Path) -> None:
    found = measure(release, job(release, {}, batch=32))
    assert "less than one batch" in failure_of(found).message


def test_wrong_outputs_show(release: Path) -> None:
    found = measure(release, job(release, {"scale": -1.0}))
    assert found.parity is not None
    assert found.parity.top1_agree == 0
    assert found.parity.max_abs is not None
    assert found.parity.max_abs == pytest.approx(2 * found.parity.reference_max_abs, rel=0.5)


def test_outputs_that_are_no_numbers_have_no_difference(release: Path) -> None:
    found = measure(release, job(release, {"scale": None}))
    assert found.status == "ok"
    assert found.parity is not None
    assert found.parity.max_abs is None
    assert not found.parity.holds


def test_a_crash_ends_its_job_only_and_keeps_what_was_measured(release: Path) -> None:
    crash = job(release, {"then": "segv", "after": 2})
    events = run(release, crash, job(release, {}))
    first, second = [
        results.Measurement.model_validate(e["result"]) for e in events if e["event"] == "result"
    ]
    assert failure_of(first).message == "killed by SIGSEGV"
    assert failure_of(first).stage == "time"
    assert first.load_ns is not None
    assert first.warmup_ns
    assert second.status == "ok"


def test_a_job_that_hangs_is_ended(release: Path, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    hang = job(release, {"then": "hang", "pid_file": str(pid_file)})
    found = measure(release, hang, timeout_s=2)
    assert failure_of(found).kind == "timeout"
    assert failure_of(found).stage == "warm up"
    wait_until(lambda: not alive(int(pid_file.read_text())))


def test_an_exception_of_the_runtime_is_the_jobs_error(release: Path) -> None:
    found = measure(release, job(release, {"load_error": "not a model"}))
    assert failure_of(found).kind == "ValueError"
    assert failure_of(found).message == "not a model"
    assert failure_of(found).stage == "load"


def test_a_file_that_is_not_the_releases_is_not_loaded(release: Path, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    found = measure(release, job(release, {"pid_file": str(pid_file)}, sha256="0" * 64))
    assert failure_of(found).stage == "verify"
    assert not pid_file.exists()


def test_a_runtime_that_is_not_installed_is_the_jobs_error(release: Path) -> None:
    shadow = release / "runner" / "tflite_runtime.py"
    shadow.write_text("raise ModuleNotFoundError('none', name='tflite_runtime')\n")
    other = release / "runner" / "ai_edge_litert.py"
    other.write_text("raise ModuleNotFoundError('none', name='ai_edge_litert')\n")
    found = measure(release, job(release, {}), fakes=False)
    assert failure_of(found).kind == "ModuleNotFoundError"
    assert failure_of(found).stage == "import"


def test_what_a_runtime_prints_is_not_taken_for_an_event(release: Path) -> None:
    found = measure(release, job(release, {"prints": '{"part": {"status": "odd"}}\nINFO: hello\n'}))
    assert found.status == "ok"


def test_threads_are_set_before_tvm_is_imported(release: Path) -> None:
    found = measure(release, job(release, {"threads": "3"}, runtime="tvm", threads=3))
    assert found.status == "ok"


def test_the_release_folder_is_left_as_it_was(release: Path) -> None:
    one = job(release, {})
    before = sorted(release.rglob("*"))
    run(release, one)
    assert sorted(release.rglob("*")) == before


def test_progress_is_said_at_least_every_few_seconds(release: Path) -> None:
    events = run(release, job(release, {"sleep_s": 0.05}), budget_s=3, max_samples=1000)
    progress = [e for e in events if e["event"] == "progress"]
    assert progress
    assert progress[-1]["stage"] == "time"
    assert progress[-1]["done"] > 0


def test_a_runner_nobody_listens_to_ends_and_takes_its_job_along(
    release: Path, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pid"
    process = start(release)
    assert process.stdin is not None
    assert process.stdout is not None
    hang = job(release, {"then": "hang", "pid_file": str(pid_file)})
    process.stdin.write(json.dumps({"jobs": [hang]}))
    process.stdin.close()
    process.stdout.readline()
    wait_until(pid_file.exists)
    process.stdout.close()
    assert process.wait(timeout=20) == 1
    assert process.stderr is not None
    process.stderr.close()
    wait_until(lambda: not alive(int(pid_file.read_text())))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_runner_that_is_ended_takes_its_job_along(
    release: Path, tmp_path: Path, number: signal.Signals
) -> None:
    pid_file = tmp_path / "pid"
    process = start(release)
    assert process.stdin is not None
    process.stdin.write(
        json.dumps({"jobs": [job(release, {"then": "hang", "pid_file": str(pid_file)})]})
    )
    process.stdin.close()
    process.stdin = None
    wait_until(lambda: pid_file.exists() and bool(pid_file.read_text()))
    process.send_signal(number)
    process.communicate(timeout=20)
    wait_until(lambda: not alive(int(pid_file.read_text())))


def test_a_spec_that_is_none_is_said_in_one_line(release: Path) -> None:
    process = start(release)
    output, errors = process.communicate("[]", timeout=20)
    assert process.returncode == 2
    assert output == ""
    assert "jobs" in errors
    assert "Traceback" not in errors


def test_the_list_has_the_cards(release: Path) -> None:
    manifest = {"model": "net", "batch": 1}
    (release / "model.json").write_text(json.dumps(manifest))
    entry = {"model": "net", "batch": 1, "folder": ".", "card": "model.json"}
    (release / "manifest.json").write_text(
        json.dumps({"release": "c" * 64, "target": "rv64gc", "models": [entry]})
    )
    listed = subprocess.run(
        [sys.executable, release / "runner" / "main.py", "--release", release, "--list"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(listed.stdout)
    assert found["target"] == "rv64gc"
    assert found["models"] == [{"folder": ".", "card": manifest}]


def alive(process: int) -> bool:
    """Whether a process runs; one that has ended and is not yet collected does not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until(condition: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_instructions_are_the_differences_between_marks(release: Path, tmp_path: Path) -> None:
    events = run(release, job(release, {}), counter=counter(tmp_path))
    (found,) = [e["result"] for e in events if e["event"] == "result"]
    measured = results.Measurement.model_validate(found)
    assert measured.status == "ok"
    assert measured.instructions is not None
    # what the first took more is not in it
    assert measured.instructions.each == 300_000
    assert measured.instructions.inferences == (1, 5)
    assert measured.artifact is not None
    assert measured.samples_ns == []


def test_a_job_that_fails_under_the_counter_is_a_failed_result(
    release: Path, tmp_path: Path
) -> None:
    events = run(release, job(release, {"load_error": "bad"}), counter=counter(tmp_path))
    (found,) = [e["result"] for e in events if e["event"] == "result"]
    assert found["status"] == "failed"
    assert found["error"]["stage"] == "load"
    assert "instructions" not in found


def test_a_counter_that_gives_no_number_is_told(release: Path, tmp_path: Path) -> None:
    silent = "import subprocess, sys\nsys.exit(subprocess.run(sys.argv[3:]).returncode)\n"
    events = run(release, job(release, {}), counter=counter(tmp_path, silent))
    (found,) = [e["result"] for e in events if e["event"] == "result"]
    assert found["status"] == "failed"
    assert "gave no number" in found["error"]["message"]
