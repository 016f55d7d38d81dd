"""What the inputs and outputs of a network mean: its task, how pictures and sounds become inputs.

Conversion writes it into the model's manifest, with a list of labels beside it, and so it reaches
the device: `invoke run`, the library there and the examples read it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from toolchain.models.detection import Detection
from toolchain.models.preprocessing import Preprocessing, Spectrogram

Task = Literal["classification", "segmentation", "detection", "recognition", "regression"]


class Metadata(BaseModel):
    """What stands in model.json as `metadata`.

    Attributes:
        task: what its outputs are; None where nothing says it.
        preprocessing: how an image becomes its input; None where it takes none.
        spectrogram: how a sound does.
        detection: how a detector's outputs become boxes.
        classes: how many it tells apart, where that is known.
        runtime: what it runs under on a device where nothing else is asked for.
        threads: how many it runs on there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Task | None = None
    preprocessing: Preprocessing | None = None
    spectrogram: Spectrogram | None = None
    detection: Detection | None = None
    classes: Annotated[int, Field(gt=0)] | None = None
    runtime: str | None = None
    threads: Annotated[int, Field(gt=0)] | None = None
