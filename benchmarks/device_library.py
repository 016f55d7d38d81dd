"""What a call by the library on the device costs beyond the runtime called directly.

    python -m benchmarks.device_library --host my-board --model digits-cnn

All are called in turn in one process on the device, call by call with the same input, so that
whatever else goes on there meets all: set the input, run, copy the output out. Directly means by
the runtime's own Python interface, with nothing of ours between. A third is the library where it
follows the release that is current. What is printed is the medians of all calls and their
differences, and the same of the quickest quarter. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from deploy.inventory import reading
from deploy.ssh import connection

PROGRAM = """
import json, statistics, sys, time
import numpy as np
from edgewright_device import OWN, load
from edgewright_device.release import Release, Wanted

model, calls = sys.argv[1], int(sys.argv[2])


def tflite(path, x):
    from tflite_runtime.interpreter import Interpreter
    one = Interpreter(str(path), num_threads=1)
    one.allocate_tensors()
    to = one.get_input_details()[0]["index"]
    of = one.get_output_details()[0]["index"]

    def call():
        one.set_tensor(to, x)
        one.invoke()
        return one.get_tensor(of)

    return call


def tvm(path, x):
    import tvm
    from tvm.runtime.vm import VirtualMachine
    cpu = tvm.runtime.device("cpu", 0)
    main = VirtualMachine(tvm.runtime.load_module(str(path)), cpu)["main"]

    def call():
        return main(tvm.runtime.tensor(x, cpu)).numpy()

    return call


def took(call):
    begun = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - begun) / 1000


found = {}
for name, make in (("tflite", tflite), ("tvm", tvm)):
    net = load(model, runtime=name, threads=1)
    given = net.signature["inputs"][0]
    x = np.random.default_rng(0).random(given["shape"]).astype(given["dtype"])
    path = Release(OWN).model(model, None).form(Wanted(name)).path
    followed = load(model, runtime=name, threads=1, follow=True)
    ways = [
        make(path, x),
        lambda: net(**{given["name"]: x}),
        lambda: followed(**{given["name"]: x}),
    ]
    times = []
    for turn in range(calls):
        round = [0.0] * len(ways)
        for step in range(len(ways)):  # none is always after the same other one
            way = (turn + step) % len(ways)
            round[way] = took(ways[way])
        times.append(round)
    times = times[calls // 10 :]
    found[name] = [statistics.quantiles(way, n=4)[:2] for way in zip(*times)]
print(json.dumps(found))
"""


def main() -> None:
    """Print what the device says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--inventory", default="inventory.yml", type=Path)
    parser.add_argument("--model", default="digits-cnn")
    parser.add_argument("--calls", default=5000, type=int)
    asked = parser.parse_args()
    device = reading.load(asked.inventory).host(asked.host)
    python = f"{device.root.removeprefix('~/')}/current/venv/bin/python"
    with connection.connect(device) as conn:
        said = conn.run([python, "-c", PROGRAM, asked.model, str(asked.calls)], timeout=1800)
    for runtime, ways in json.loads(said.strip().splitlines()[-1]).items():
        told = [
            f"{what} {direct:.1f} µs directly, {ours - direct:.1f} µs more by the library, "
            f"{followed - ours:.1f} µs more where it follows"
            for what, direct, ours, followed in zip(
                ("first quartile", "median"), *ways, strict=True
            )
        ]
        print(f"{asked.model}, {runtime}: {'; '.join(told)}")  # noqa: T201


if __name__ == "__main__":
    main()
