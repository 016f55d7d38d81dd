"""How an image becomes a network's input, as data; `convert.samples` does it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Preprocessing(BaseModel):
    """(pixel * scale - mean) / std, a channel each, after the resize, in that order of channels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: Literal["RGB", "BGR", "L"]
    resize: Literal["bilinear", "bicubic", "nearest", "none"]
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
