"""How an image becomes a network's input, as data; `samples.public_images` does it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Preprocessing(BaseModel):
    """(pixel * scale - mean) / std, a channel each, after the resize, in that order of channels.

    `crop` is the share of an image's shorter side that is kept, in the middle: ImageNet's usual
    evaluation resizes that side to 256 and takes the middle 224. `resize` is OpenCV's: `area` means
    over all pixels, `bilinear` and `bicubic` look at the nearest 4 and 16 alone, however much
    smaller an image gets. The channels of `mean` and `std` are in the network's order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: Literal["RGB", "BGR", "L"]
    resize: Literal["bilinear", "bicubic", "area", "nearest", "none"]
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop: Annotated[float, Field(gt=0, le=1)] = 0.875
