"""ONNX cases and a picture through the `cv2` that is installed there; what came out beside them.

Runs on a device: the standard library, numpy and cv2. `python opencv_on_device.py FOLDER`. The
folder has NAME.onnx and NAME.in.npz of each case, and picture.npy; it gets NAME.out.npz and
jpeg.npy, the picture once JPEG has held it. Prints as JSON what was seen.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import cv2 as module
import numpy as np

NO_OUTPUT = 1
cv2: Any = module  # its own types know less than it does


def outputs(folder: Path, name: str) -> dict[str, np.ndarray]:
    """What a case's model makes of its inputs, by name."""
    net = cv2.dnn.readNetFromONNX(str(folder / f"{name}.onnx"))
    with np.load(folder / f"{name}.in.npz") as given:
        for key, array in given.items():
            net.setInput(np.ascontiguousarray(array), key)
    names = list(net.getUnconnectedOutLayersNames())
    found = {key: np.asarray(made) for key, made in zip(names, net.forward(names), strict=True)}
    if any(array.dtype == object for array in found.values()):
        raise TypeError("an output is a sequence")
    return found


def ran(folder: Path, name: str) -> bool:
    """Leave a case's outputs beside it, by a process of its own, as a case may end its process."""
    process = os.fork()
    if process == 0:
        code = NO_OUTPUT
        try:
            np.savez(folder / f"{name}.out.npz", **outputs(folder, name))  # type: ignore[arg-type]
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(process, 0)[1] == 0


def main() -> None:
    """Every case, then the picture."""
    folder = Path(sys.argv[1])
    cv2.setNumThreads(1)
    names = sorted(path.stem for path in folder.glob("*.onnx"))
    refused = [name for name in names if not ran(folder, name)]
    picture = np.load(folder / "picture.npy")
    lossless = []
    for ending in (".png", ".webp", ".bmp"):
        quality = [cv2.IMWRITE_WEBP_QUALITY, 101] if ending == ".webp" else []
        packed = cv2.imencode(ending, picture, quality)[1]
        if np.array_equal(cv2.imdecode(packed, cv2.IMREAD_COLOR), picture):
            lossless.append(ending)
    jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
    np.save(folder / "jpeg.npy", cv2.imdecode(jpeg, cv2.IMREAD_COLOR))
    np.save(folder / "half.npy", cv2.resize(picture, None, fx=0.5, fy=0.5))
    said = {
        "version": cv2.__version__,
        "refused": refused,
        "lossless": lossless,
        "vectors": "RVV" in cv2.getCPUFeaturesLine(),
    }
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main()
