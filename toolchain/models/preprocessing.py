"""How an image or a sound becomes a network's input, as data; `samples` does it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

_YOLO_GREY = 114  # what YOLO's code fills with


class Preprocessing(BaseModel):
    """(pixel * scale - mean) / std, a channel each, after the resize, in that order of channels.

    `crop` is the share of an image's shorter side that is kept, in the middle: ImageNet's usual
    evaluation resizes that side to 256 and takes the middle 224. `resize` is OpenCV's: `area` means
    over all pixels, `bilinear` and `bicubic` look at the nearest 4 and 16 alone, however much
    smaller an image gets. The channels of `mean` and `std` are in the network's order.

    `fit` is how an image of another shape is fitted: `crop` as above; `letterbox` resizes all of it
    into the input and fills what is left with `pad`, of 255; `stretch` changes its proportion.

    Every key may be left out: an RGB image then becomes numbers from 0 to 1, resized by `bilinear`.
    A `mean` or `std` of one number is that of every channel.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: Literal["RGB", "BGR", "L"] = "RGB"
    resize: Literal["bilinear", "bicubic", "area", "nearest", "none"] = "bilinear"
    scale: float = 1 / 255
    mean: Annotated[tuple[float, ...], Field(min_length=1)] = (0.0,)
    std: Annotated[tuple[float, ...], Field(min_length=1)] = (1.0,)
    crop: Annotated[float, Field(gt=0, le=1)] = 0.875
    # left out while they are as before: models of before keep their keys in the store
    fit: Literal["crop", "letterbox", "stretch"] = Field("crop", exclude_if=lambda f: f == "crop")
    pad: Annotated[int, Field(ge=0, le=255)] = Field(
        _YOLO_GREY, exclude_if=lambda pad: pad == _YOLO_GREY
    )

    @field_validator("std")
    @classmethod
    def _divides(cls, std: tuple[float, ...]) -> tuple[float, ...]:
        if 0 in std:
            raise ValueError("nothing can be divided by 0")
        return std


class Spectrogram(BaseModel):
    """The logarithm of the energy in bands of the mel scale, frame by frame, at 16,000 Hz.

    `window` and `hop` are a frame's length and the distance of two, in samples of sound; `bands`
    are evenly spaced in mel from `lowest` to `highest` Hz. With `coefficients` the bands of a frame
    become so many of their cosine transform's: MFCCs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    window: Annotated[int, Field(gt=0)]
    hop: Annotated[int, Field(gt=0)]
    bands: Annotated[int, Field(gt=0)]
    coefficients: Annotated[int, Field(gt=0)] | None = None
    lowest: Annotated[float, Field(ge=0)] = 20.0
    highest: Annotated[float, Field(gt=0, le=8000)] = 4000.0
