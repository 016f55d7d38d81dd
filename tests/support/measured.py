"""Results to test with: one of a board and one of an emulated device."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from toolchain.results import conditions
from toolchain.results import measurement as results

STARTED = datetime(2026, 11, 21, 4, 5, 6, tzinfo=UTC)
MS = 1_000_000


def device(*, emulation: str | None = None) -> results.Device:
    return results.Device(
        machine="riscv64",
        cpu="thead,c910",
        isa="rv64imafdcv",
        cores=4,
        ram_bytes=8 << 30,
        kernel="6.6.0",
        os="Debian GNU/Linux 13 (trixie)",
        libc="glibc 2.41",
        python="3.13.5",
        governor="performance",
        emulation=emulation,
    )


def snapshot(seconds: float, **changes: object) -> conditions.Snapshot:
    """A calm device, so many seconds after it was first looked at."""
    return conditions.Snapshot.model_validate(
        {
            "monotonic_ns": int(seconds * 1e9),
            "cpu_seconds": seconds,
            "cpu_khz": [1_800_000],
            "temperature_c": 50.0,
            "busy_seconds": 100 + seconds,
            "waited_seconds": 0.0,
            "governor": "performance",
            **changes,
        }
    )


def measurement(**changes: object) -> results.Measurement:
    """A good measurement of digits-cnn under TFLite: about 2 ms an inference."""
    return results.Measurement.model_validate(
        {
            "model": "digits-cnn",
            "batch": 1,
            "runtime": "tflite",
            "variant": "fp32",
            "opt_level": None,
            "threads": 1,
            "status": "ok",
            "artifact": {"file": "models/digits-cnn/b1/fp32.tflite", "sha256": "a" * 64, "size": 9},
            "versions": {"tflite-runtime": "2.14.1", "numpy": "2.2.4"},
            "load_ns": 5 * MS,
            "warmup_ns": [3 * MS],
            "samples_ns": [2 * MS + n for n in range(20)],
            "base_rss_bytes": 40 << 20,
            "peak_rss_bytes": 48 << 20,
            "delegated": {"total": 6, "taken": 6, "parts": 1},
            "conditions": {"before": snapshot(0), "after": snapshot(5)},
            "parity": {
                "count": 500,
                "available": 500,
                "max_abs": 1e-6,
                "reference_max_abs": 1.0,
                "top1_agree": 500,
            },
            "accuracy": {
                "total": 500,
                "available": 500,
                "correct": 480,
                "correct_top5": 499,
                "reference_correct": 480,
            },
            **changes,
        }
    )


def tvm(**changes: object) -> results.Measurement:
    """The same network under TVM at O3: 6 ms."""
    return measurement(
        **{
            "runtime": "tvm",
            "variant": "fp32",
            "opt_level": 3,
            "delegated": None,
            "samples_ns": [6 * MS + n for n in range(20)],
            **changes,
        }
    )


def counted() -> results.Result:
    """Instructions of digits-cnn under both runtimes: 2 and 6 million an inference."""
    nothing: dict[str, object] = {
        "samples_ns": [],
        "warmup_ns": [],
        "parity": None,
        "accuracy": None,
    }
    ones = [
        make(**nothing, instructions={"inferences": (1, 11), "totals": (9_000_000, total)})
        for make, total in ((measurement, 29_000_000), (tvm, 69_000_000))
    ]
    return result(*ones, host="emu", emulated=True).model_copy(update={"counted": True})


def failed() -> results.Measurement:
    """A job that crashed while it was loading."""
    return results.Measurement.model_validate(
        {
            "model": "densenet121",
            "batch": 1,
            "runtime": "tvm",
            "variant": "fp32",
            "opt_level": 3,
            "threads": 1,
            "status": "failed",
            "error": {"stage": "load", "kind": "crash", "message": "killed by SIGSEGV"},
        }
    )


def result(
    *measurements: results.Measurement, host: str = "board", emulated: bool = False
) -> results.Result:
    """A finished run."""
    return results.Result(
        host=host,
        target="rv64gc",
        release="b" * 64,
        emulated=emulated,
        started=STARTED,
        finished=STARTED + timedelta(minutes=1),
        complete=True,
        device=device(emulation="QEMU_CPU=rv64" if emulated else None),
        settings=results.Settings(),
        measurements=list(measurements) or [measurement(), tvm()],
    )
