"""ONNX networks whose values are rounded to int8 between operators (Q/DQ)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from tests.support.networks import model, random

ZERO = -37  # of the inputs: padding is not 0


def integers(*shape: int) -> npt.NDArray[np.int8]:
    return np.random.default_rng(sum(shape)).integers(-127, 128, shape).astype(np.int8)


def rounding(zero: int = ZERO) -> dict[str, npt.NDArray[np.generic]]:
    return {"s": np.array(0.03, np.float32), "z": np.array(zero, np.int8)}


def rounded(name: str, to: str) -> list[onnx.NodeProto]:
    """The nodes that round a tensor to int8 and back."""
    return [
        helper.make_node("QuantizeLinear", [name, "s", "z"], [f"{to}_steps"]),
        helper.make_node("DequantizeLinear", [f"{to}_steps", "s", "z"], [to]),
    ]


def of_weights(*weights: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("DequantizeLinear", [f"{w}_steps", f"{w}_s", f"{w}_z"], [w], axis=0)
        for w in weights
    ]


def weights(name: str, *shape: int, scales: int) -> dict[str, npt.NDArray[np.generic]]:
    size: tuple[int, ...] = (scales,) if scales > 1 else ()
    return {
        f"{name}_steps": integers(*shape),
        f"{name}_s": np.abs(random(*size)).astype(np.float32) * np.float32(0.01),
        f"{name}_z": np.zeros(size, np.int8),
    }


def convolution(
    shape: tuple[int, ...], channels: int, window: int, per_channel: bool = True, **attributes: Any
) -> onnx.ModelProto:
    """Rounded input, int8 weights, bias, relu, rounded output."""
    groups: int = attributes.get("group", 1)
    of = (channels, shape[1] // groups, window, window)
    return model(
        [
            *rounded("x", "r"),
            *of_weights("w"),
            helper.make_node("Conv", ["r", "w", "b"], ["c"], **attributes),
            helper.make_node("Relu", ["c"], ["a"]),
            *rounded("a", "y"),
        ],
        shape,
        {
            **rounding(),
            **weights("w", *of, scales=channels if per_channel else 1),
            "b": random(channels),
        },
    )
