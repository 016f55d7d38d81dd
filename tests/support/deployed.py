"""A release on a device and its runner, as `deploy.measure` meets them."""

from __future__ import annotations

from typing import Any

from deploy.measure.jobs import Deployed
from tests.support import measured

RELEASE = "b" * 64
END = {"event": "end", "failed": 0}


def manifest(model: str, batch: int = 1) -> dict[str, Any]:
    """A model's manifest: fp32 for TFLite, and for TVM at O3 and O0, there of two targets."""

    def file(name: str) -> dict[str, Any]:
        return {"file": name, "sha256": "a" * 64, "size": 1}

    def library(target: str, level: int) -> dict[str, Any]:
        return {**file(f"{target}/O{level}.so"), "opt_level": level}

    tensor = {"name": "x", "shape": (batch, 8, 8, 1)}
    return {
        "schema": 1,
        "model": model,
        "title": model,
        "batch": batch,
        "source": {"kind": "keras", "weights": "seeded:0"},
        "input": tensor,
        "output": tensor,
        "tvm_input": tensor,
        "tflite": {"fp32": file("fp32.tflite")},
        "onnx": file("model.onnx"),
        "libraries": {
            "rv64gc": {"O3": library("rv64gc", 3), "O0": library("rv64gc", 0)},
            "aarch64": {"O3": library("aarch64", 3)},
        },
        "samples": {**file("samples.npz"), "count": 8, "labelled": False},
        "checks": [],
    }


LISTED = {
    "release": RELEASE,
    "target": "rv64gc",
    "models": [
        {"folder": "models/digits-cnn/b1", "card": manifest("digits-cnn")},
        {"folder": "models/net/b4", "card": manifest("net", 4)},
    ],
}
DEPLOYED = Deployed.model_validate(LISTED)


def started(*, emulation: str | None = None) -> dict[str, Any]:
    """The runner's first event."""
    device = measured.device(emulation=emulation).model_dump()
    return {"event": "start", "release": RELEASE, "device": device, "jobs": 1}
