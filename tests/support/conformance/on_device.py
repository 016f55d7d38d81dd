"""Cases of a folder through the `onnxruntime` that is installed there; their outputs beside them.

Prints as JSON the version and why a case gave none. Runs on a device: the standard library, numpy
and onnxruntime. `python on_device.py FOLDER`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime


def outputs(folder: Path, name: str) -> list[np.ndarray]:
    """What a case's model makes of its inputs, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    make = onnxruntime.InferenceSession
    session = make(str(folder / f"{name}.onnx"), options, providers=["CPUExecutionProvider"])
    with np.load(folder / f"{name}.in.npz") as given:
        found: list[np.ndarray] = session.run(None, dict(given))
    return found


def main() -> None:
    """Leave each case's outputs beside it, or say why there are none."""
    onnxruntime.set_default_logger_severity(4)
    folder, refused = Path(sys.argv[1]), {}
    for model in sorted(folder.glob("*.onnx")):
        try:
            np.savez(folder / f"{model.stem}.out.npz", *outputs(folder, model.stem))
        except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
            refused[model.stem] = f"{type(error).__name__}: {error}"
    sys.stdout.write(json.dumps({"version": onnxruntime.__version__, "refused": refused}))


if __name__ == "__main__":
    main()
