"""A program of ExecuTorch through the `executorch` that is installed there, and what is refused.

Runs on a device, on the standard library, numpy and executorch: `executorch_on_device.py FOLDER
THREADS`. The folder has network.pte, bad.pte, x.npy and i.npy; it gets out0.npy and out1.npy. What
was seen is printed as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import executorch
import numpy as np
from executorch.runtime import Runtime


def refused(call: Callable[[], object]) -> str:
    """What is said of something that can't be done."""
    try:
        call()
    except (RuntimeError, ValueError, TypeError) as error:
        return str(error)
    return ""


def main() -> None:
    """Run it."""
    folder, threads = Path(sys.argv[1]), int(sys.argv[2])
    runtime = Runtime.get()
    runtime.set_threads(threads)
    program = runtime.load_program(folder / "network.pte")
    method = program.load_method("forward")
    inputs = [np.load(folder / f"{name}.npy") for name in "xi"]
    first = method.execute(inputs)
    again = method.execute(inputs)
    for number, output in enumerate(again):
        np.save(folder / f"out{number}.npy", output)
    meta = method.metadata
    seen = {
        "version": executorch.__version__,
        "same": all(map(np.array_equal, first, again)),
        "inputs": [
            [list(meta.input_tensor_meta(n).sizes()), str(meta.input_tensor_meta(n).dtype())]
            for n in range(meta.num_inputs())
        ],
        "outputs": meta.num_outputs(),
        "torch": "torch" in sys.modules,
        "refused": {
            "file": refused(
                lambda: runtime.load_program(folder / "none.pte").load_method("forward")
            ),
            "program": refused(
                lambda: runtime.load_program(folder / "bad.pte").load_method("forward")
            ),
            "threads": refused(lambda: runtime.set_threads(threads + 1)),
            "none": refused(lambda: runtime.set_threads(0)),
            "method": refused(lambda: program.load_method("backward")),
            "shape": refused(lambda: method.execute([inputs[0][:, :2], inputs[1]])),
            "type": refused(lambda: method.execute([inputs[0].astype(np.float64), inputs[1]])),
            "number": refused(lambda: method.execute(inputs[:1])),
            "complex": refused(lambda: method.execute([inputs[0] * 1j, inputs[1]])),
        },
    }
    sys.stdout.write("\n" + json.dumps(seen) + "\n")


if __name__ == "__main__":
    main()
