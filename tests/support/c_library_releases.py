"""Releases with small networks, on which the library for C gives what the one for Python does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support import device_releases, tflite_models
from tests.support.device_releases import tensor
from tests.support.tflite_models import Operator, Tensor

PICTURES = {"channels": "RGB", "scale": 1 / 255, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.25]}


def operator(
    name: str, inputs: list[str], output: str, options: str, **settings: object
) -> Operator:
    return Operator(name=name, inputs=inputs, outputs=[output], options=options, settings=settings)


def pictures(
    folder: Path, kind: str, resize: str, fit: str, shape: tuple[int, ...], number: str = "c"
) -> None:
    """A release with a network that gives what it is given, of pictures in numbers of a kind."""
    rounded = {} if kind == "float32" else {"quantization": {"scale": 0.02, "zero": 7}}
    how = {**PICTURES, "resize": resize, "fit": fit}
    device_releases.release(
        folder,
        [tensor("x", *shape, dtype=kind, **rounded)],
        [tensor("y", *shape, dtype=kind, **rounded)],
        labels=["red", "grün"],
        number=number,
        metadata={"task": "classification", "preprocessing": how},
    )
    scale, zero = ([0.02], [7]) if rounded else ([], [])
    numbers = Tensor(shape=shape, kind=kind, scale=scale, zero=zero)
    same_shape = operator("RESHAPE", ["x"], "y", "ReshapeOptions", newShape=shape)
    content = tflite_models.model({"x": numbers, "y": numbers}, [same_shape])
    (folder / "models/net/b1/0.bin").write_bytes(content)


DETECTOR = {"score": 0.001, "overlap": 0.3, "most": 20}


def reshaped(
    folder: Path,
    given: tuple[int, ...],
    outputs: Mapping[str, tuple[int, ...]],
    labels: list[str] | None = None,
    **metadata: Any,
) -> None:
    """A release with a network that gives its numbers in other shapes, with what they mean."""
    device_releases.release(
        folder,
        [tensor("x", *given)],
        [tensor(name, *shape) for name, shape in outputs.items()],
        labels=labels,
        metadata=metadata,
    )
    shapes = {name: Tensor(shape=shape, kind="float32") for name, shape in outputs.items()}
    reshapes = [
        operator("RESHAPE", ["x"], name, "ReshapeOptions", newShape=shape)
        for name, shape in outputs.items()
    ]
    content = tflite_models.model(
        {"x": Tensor(shape=given, kind="float32"), **shapes}, reshapes, outputs=tuple(outputs)
    )
    (folder / "models/net/b1/0.bin").write_bytes(content)


def with_meanings(folder: Path) -> None:
    """Releases with detectors, segmenters and one that listens, in a folder."""
    how = {**PICTURES, "mean": [0.0], "std": [0.02], "resize": "bilinear"}
    letterbox, crop = {**how, "fit": "letterbox"}, {**how, "fit": "crop"}
    yolo = {**DETECTOR, "head": "yolo", "objectness": False}
    told: dict[str, Any] = {"task": "detection", "preprocessing": letterbox, "detection": yolo}
    reshaped(folder / "yolo", (1, 8, 8, 3), {"y": (1, 6, 32)}, ["red", "grün"], **told)
    told = {**told, "preprocessing": crop, "detection": {**yolo, "objectness": True}, "classes": 2}
    reshaped(folder / "yolov5", (1, 7, 8, 3), {"y": (1, 24, 7)}, **told)
    # scores as wide as boxes are
    told["detection"] = {**yolo, "head": "ssd", "background": True}
    both = {"boxes": (1, 48, 4), "scores": (1, 48, 4)}
    reshaped(folder / "ssd", (1, 8, 8, 3), both, ["a", "b", "c"], **told)
    told = {"task": "segmentation", "preprocessing": crop}
    reshaped(folder / "mask", (1, 8, 8, 3), {"y": (1, 4, 8, 6)}, **told)
    told = {"task": "segmentation", "preprocessing": letterbox, "classes": 3}
    reshaped(folder / "mask-first", (1, 8, 6, 3), {"y": (1, 3, 8, 6)}, **told)
    bands = {"window": 48, "hop": 20, "bands": 9, "lowest": 20.0, "highest": 7000.0}
    told = {"task": "classification", "spectrogram": bands}
    reshaped(folder / "bands", (1, 5, 9), {"y": (1, 45)}, **told)
    told["spectrogram"] = {**bands, "window": 64, "coefficients": 5}
    reshaped(folder / "cepstrum", (1, 7, 5), {"y": (1, 35)}, **told)


def with_state(folder: Path) -> None:
    """A release with a network of two inputs and a state: y = x + rate + h, and h is then 2 y."""
    four = Tensor(shape=(1, 4), kind="float32")
    names = ("x", "rate", "h", "between", "y", "hn")
    adds = [
        operator("ADD", pair, out, "AddOptions")
        for pair, out in ((["x", "rate"], "between"), (["between", "h"], "y"), (["y", "y"], "hn"))
    ]
    device_releases.release(
        folder,
        [tensor(name, 1, 4) for name in ("x", "rate", "h")],
        [tensor(name, 1, 4) for name in ("y", "hn")],
        state={"feeds": [{"input": "h", "output": "hn"}], "steps": 3},
    )
    content = tflite_models.model(
        dict.fromkeys(names, four), adds, inputs=("x", "rate", "h"), outputs=("y", "hn")
    )
    (folder / "models/net/b1/0.bin").write_bytes(content)
