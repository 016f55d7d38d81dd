"""TVM against TensorFlow Lite and ONNX Runtime, side by side on this x86-64 machine.

    invoke build-wheels --target x86_64
    invoke compile --target x86_64 --model mobilenetv3-large,densenet121
    python -m benchmarks.tvm_vs_tflite dist/models/mobilenetv3-large/b1 dist/models/densenet121/b1

Any model will do that is converted and compiled. One process a runtime and round, one after the
other in every round, all with the same cores, the same number of threads and the same input: TVM
(the installed release, as `compile` uses it), our tflite_runtime, the newest official runtime
(ai-edge-litert) and ONNX Runtime. A ratio is the median of the rounds' own ratios, with its 95 %
interval (order statistics: no distribution is assumed). Nothing is asserted. The wheels are of
CPython 3.11, so that is what runs this.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.tflite_vs_official import NUMPY, environment
from toolchain.commandline import console
from toolchain.core import paths, process
from toolchain.models.manifest import ModelManifest

ROUNDS = 9
CONFIDENCE = 0.95
OURS = 1  # where our tflite_runtime stands among the runtimes
LITERT = (
    "ai-edge-litert==2.3.0",
    "1f15078a6725d2357d9de9221664c29afa0545d807559c5f7199ce5e40b96b23",
)
# What all programs share: the arguments, the cores, the times. `step` is one inference.
FRAME = """
import json, os, sys, time
import numpy
path, samples, threads, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
cores = sorted(os.sched_getaffinity(0))
os.sched_setaffinity(0, cores[:threads])
pool = numpy.load(samples)["x"]
x = numpy.ascontiguousarray(numpy.resize(pool, (int(sys.argv[5]), *pool.shape[1:])))
{program}
times = []
for n in range(count + 3):
    started = time.perf_counter_ns()
    step()
    times.append(time.perf_counter_ns() - started)
print("TIMES" + json.dumps(times[3:]))
"""
TFLITE = """
from {package}.interpreter import Interpreter
interpreter = Interpreter(path, num_threads=threads)
interpreter.allocate_tensors()
index = interpreter.get_input_details()[0]["index"]
def step():
    interpreter.set_tensor(index, x)
    interpreter.invoke()
"""
TVM = """
import tvm
from tvm import relax
machine = relax.VirtualMachine(tvm.runtime.load_module(path), tvm.cpu())
def step():
    machine["main"](tvm.runtime.tensor(x))
"""
ONNX = """
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
def step():
    session.run(None, {name: x})
"""


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What is measured.

    Attributes:
        name: as the table has it.
        python: whose packages it needs.
        program: the part of FRAME that is its own.
        file: which of a model's files it loads.
    """

    name: str
    python: Path
    program: str
    file: str

    def times(self, folder: Path, manifest: ModelManifest, threads: int, count: int) -> list[int]:
        """Nanoseconds of each inference of one process."""
        program = FRAME.replace("{program}", self.program)
        numbers = [str(threads), str(count), str(manifest.batch)]
        text = process.run(
            [
                self.python,
                "-c",
                program,
                folder / self.file,
                folder / manifest.samples.file,
                *numbers,
            ],
            env={"TVM_NUM_THREADS": str(threads)},
        )
        found: list[int] = json.loads(text[text.index("TIMES") + len("TIMES") :].splitlines()[0])
        return found


def runtimes(scratch: Path) -> list[Runtime]:
    """All that are compared, TVM first, in virtual environments where they need one."""
    (ours,) = (paths.dist() / "wheels" / "x86_64").glob("tflite_runtime-*.whl")
    own = environment(scratch / "ours", NUMPY)
    process.run([own.with_name("pip"), "install", "--quiet", "--no-deps", "--no-index", ours])
    official = environment(scratch / "official", NUMPY, LITERT)
    here = Path(sys.executable)
    return [
        Runtime(name="TVM", python=here, program=TVM, file="x86_64/O3.so"),
        Runtime(
            name="tflite_runtime 2.14.1, ours",
            python=own,
            program=TFLITE.replace("{package}", "tflite_runtime"),
            file="fp32.tflite",
        ),
        Runtime(
            name=LITERT[0].replace("==", " "),
            python=official,
            program=TFLITE.replace("{package}", "ai_edge_litert"),
            file="fp32.tflite",
        ),
        Runtime(name="ONNX Runtime", python=here, program=ONNX, file="model.onnx"),
    ]


def interval(ratios: Sequence[float]) -> tuple[float, float]:
    """The narrowest pair of order statistics around the median that has at least CONFIDENCE.

    Each value is on either side of the median with probability 1/2, so the k-th smallest and the
    k-th largest of n enclose it with 1 - 2 P(Binomial(n, 1/2) < k).
    """
    ordered, n = sorted(ratios), len(ratios)
    outside, k = 0.0, 0
    while k < n // 2:
        outside += math.comb(n, k) / 2**n
        if 1 - 2 * outside < CONFIDENCE:
            break
        k += 1
    return ordered[max(k - 1, 0)], ordered[n - max(k, 1)]


def main() -> None:
    """Measure and print a table of milliseconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="such as dist/models/NAME/b1")
    parser.add_argument("--threads", default="1,2", help="numbers, separated by commas")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--inferences", type=int, default=30, help="of each process")
    chosen = parser.parse_args()
    rows, against_ours = [], []
    with tempfile.TemporaryDirectory() as scratch:
        compared = runtimes(Path(scratch))
        for folder in chosen.folders:
            manifest = ModelManifest.load(folder)
            for threads in map(int, chosen.threads.split(",")):
                if threads > len(os.sched_getaffinity(0)):
                    continue
                times: list[list[float]] = [[] for _ in compared]
                for _ in range(chosen.rounds):
                    for kept, runtime in zip(times, compared, strict=True):
                        samples = runtime.times(folder, manifest, threads, chosen.inferences)
                        kept.append(statistics.median(samples))
                for kept, runtime in zip(times, compared, strict=True):
                    ratios = [mine / other for mine, other in zip(times[0], kept, strict=True)]
                    low, high = interval(ratios)
                    middle = statistics.median(ratios)
                    if runtime is compared[OURS]:
                        against_ours.append(middle)
                    rows.append(
                        [manifest.model, str(manifest.batch), str(threads), runtime.name]
                        + [f"{statistics.median(kept) / 1e6:.2f}"]
                        + [f"{middle:.2f} ({low:.2f} to {high:.2f})"]
                    )
    head = ["model", "batch", "threads", "runtime", "median, ms", "TVM ÷ it"]
    mean = f"{statistics.geometric_mean(against_ours):.2f}"
    rows.append(["all", "", "", compared[OURS].name, "", f"{mean} (geometric mean)"])
    console.show_table("TVM on this machine", head, rows)


if __name__ == "__main__":
    main()
