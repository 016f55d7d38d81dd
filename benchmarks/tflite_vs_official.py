"""Our x86-64 tflite_runtime against the official 2.14.0 wheel, side by side on this machine.

    invoke build-wheels --target x86_64 && invoke convert --model mobilenetv3-large
    python -m benchmarks.tflite_vs_official dist/models/mobilenetv3-large/b1/fp32.tflite

Each wheel has a virtual environment of its own with the same numpy. Processes alternate; the ratio
is of the medians of all their times, with the range of the rounds' own ratios. Nothing is asserted.
The official wheel is of CPython 3.11, so that is what runs this.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from toolchain.commandline import console
from toolchain.core import paths, process
from toolchain.lock import mirrors

ROUNDS = 7
INFERENCES = 60
NUMPY = (
    "numpy==1.26.4",
    "666dbfb6ec68962c033a450943ded891bed2d54e6755e35e5835d63f4f6931d5",
)
OFFICIAL = (
    "tflite-runtime==2.14.0",
    "195ab752e7e57329a68e54dd3dd5439fad888b9bff1be0f0dc042a3237a90e4d",
)
PROGRAM = """
import json, sys, time
import numpy
from tflite_runtime.interpreter import Interpreter
path, threads, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
interpreter = Interpreter(path, num_threads=threads)
interpreter.allocate_tensors()
given = interpreter.get_input_details()[0]
data = numpy.random.default_rng(0).random(given["shape"]).astype(given["dtype"])
times = []
for n in range(count + 5):
    interpreter.set_tensor(given["index"], data)
    started = time.perf_counter_ns()
    interpreter.invoke()
    times.append(time.perf_counter_ns() - started)
print("TIMES" + json.dumps(times[5:]))
"""


def environment(folder: Path, *requirements: tuple[str, str]) -> Path:
    """A virtual environment with these requirements and no other, each checked by its sha256."""
    process.run([sys.executable, "-m", "venv", folder])
    pins = folder / "requirements.txt"
    pins.write_text("".join(f"{what} --hash=sha256:{digest}\n" for what, digest in requirements))
    process.run(
        [folder / "bin" / "pip", "install", "--quiet", "--no-deps", "--require-hashes", "-r", pins],
        env={"PIP_INDEX_URL": mirrors.pypi()},
    )
    return folder / "bin" / "python"


def times(python: Path, model: Path, threads: int) -> list[int]:
    """Nanoseconds of each inference of one process."""
    text = process.run([python, "-c", PROGRAM, model, str(threads), str(INFERENCES)])
    found: list[int] = json.loads(text[text.index("TIMES") + len("TIMES") :].splitlines()[0])
    return found


def main() -> None:
    """Measure and print a table of milliseconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    chosen = parser.parse_args()
    (ours,) = (paths.dist() / "wheels" / "x86_64").glob("tflite_runtime-*.whl")
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        official = environment(Path(scratch) / "official", NUMPY, OFFICIAL)
        own = environment(Path(scratch) / "ours", NUMPY)
        process.run([own.with_name("pip"), "install", "--quiet", "--no-deps", "--no-index", ours])
        for model in chosen.models:
            for threads in (1, 2):
                mine, theirs, ratios = [], [], []
                for _ in range(ROUNDS):
                    a, b = times(own, model, threads), times(official, model, threads)
                    mine += a
                    theirs += b
                    ratios.append(statistics.median(a) / statistics.median(b))
                one, two = statistics.median(mine) / 1e6, statistics.median(theirs) / 1e6
                rows.append(
                    [model.parent.parent.name, str(threads), f"{one:.2f}", f"{two:.2f}"]
                    + [f"{one / two:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"]
                )
    head = ["model", "threads", "ours, ms", "official, ms", "ratio"]
    console.show_table("tflite_runtime on this machine", head, rows)


if __name__ == "__main__":
    main()
