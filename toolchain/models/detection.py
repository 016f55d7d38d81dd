"""How a detector's outputs become boxes, as data; `accuracy.box_decoding` does it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]


class Detection(BaseModel):
    """A one-stage detector's head, and what is kept of its boxes.

    Attributes:
        head: `yolo`: one output, (4 + classes, boxes) or (boxes, 4 + classes), of middles, widths
            and heights in pixels of the input, then scores; as Ultralytics' exports have it.
            `ssd`: two outputs, boxes (boxes, 4) of ymin, xmin, ymax and xmax as shares of the
            input, and scores (boxes, classes), as TensorFlow's detection models have them.
        background: whether the first score of an SSD head is that of nothing at all.
        objectness: whether a box's own score stands before those of its classes (YOLOv5), with
            which they are multiplied.
        score: boxes below it are left out.
        overlap: of two boxes of a class that overlap by more (IoU), the worse is left out.
        most: boxes of an image.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    head: Literal["yolo", "ssd"]
    # left out while it is as before, as it always was from what a model is known by
    background: bool = Field(default=False, exclude_if=lambda background: not background)
    objectness: bool = False
    # what Ultralytics' own validation takes
    score: Share = 0.001
    overlap: Share = 0.7
    most: Annotated[int, Field(gt=0)] = 300
