"""Time and size of a report of some thousand measurements: CPU seconds, and bytes of each file.

    python -m benchmarks.report_page [--networks 10] [--keep FOLDER]

A network has 480: five runtimes, eight variants, six batches, two numbers of threads. What is kept
is a result for `invoke report` itself: `time EDGEWRIGHT_DIST=FOLDER invoke report`.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.support import measured
from toolchain.models.variants import VARIANTS
from toolchain.report import reports
from toolchain.results import measurement
from toolchain.results.measurement import Measurement, Result

RUNTIMES = ("tflite", "tvm", "onnxruntime", "litert", "ncnn")
BATCHES = (1, 2, 4, 8, 16, 32)
THREADS = (1, 2)
TIMES = 40


def a_matrix(networks: int) -> Result:
    """Made-up measurements of a real board, the same in each run."""
    drawn = np.random.default_rng(1)
    every = itertools.product(range(networks), BATCHES, RUNTIMES, VARIANTS, THREADS)
    return measured.result(*(_one(drawn, *one) for one in every))


def _one(
    drawn: np.random.Generator, network: int, batch: int, runtime: str, variant: str, threads: int
) -> Measurement:
    correct = int(drawn.integers(80, 100))
    median = drawn.uniform(1, 9) * measured.MS * batch
    return measured.measurement(
        model=f"network-{network}",
        batch=batch,
        runtime=runtime,
        variant=variant,
        threads=threads,
        opt_level=3 if runtime == "tvm" else None,
        samples_ns=[int(median * drawn.uniform(0.97, 1.03)) for _ in range(TIMES)],
        accuracy={
            "total": 100, "available": 100, "correct": correct, "correct_top5": 100,
            "reference_correct": correct,
        },
        artifact={"file": variant, "sha256": "0" * 64, "size": int(drawn.integers(10**5, 10**6))},
    )  # fmt: skip


def main() -> None:
    """Build it once and say what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=10)
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    result = a_matrix(asked.networks)
    if asked.keep is not None:
        measurement.save(result, asked.keep / "results")
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        built = reports.build([result], folder=Path(folder))
        took = time.process_time() - began
        sizes = {path.suffix: path.stat().st_size for path in (built.html, built.csv, built.json)}
    said = [f"{len(result.measurements)} measurements: {took:.1f} s of CPU"]
    said += [f"  report{suffix}: {size / 1e6:.2f} MB" for suffix, size in sizes.items()]
    sys.stdout.write("\n".join(said) + "\n")


if __name__ == "__main__":
    main()
