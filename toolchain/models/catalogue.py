"""The models that are known by name: the entries of catalogue.toml."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from toolchain.core.errors import ModelError
from toolchain.models.detection import Detection
from toolchain.models.metadata import Task
from toolchain.models.preprocessing import Preprocessing, Spectrogram

DATA = Path(__file__).with_name("catalogue.toml")


class CatalogueEntry(BaseModel):
    """One entry of catalogue.toml; the file's head says what each key means."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    source: Literal["keras-applications", "digits", "network"]
    task: Task = "classification"
    constructor: str | None = None
    pin: str | None = None
    arguments: dict[str, bool | int | float | str] = Field(default_factory=dict)
    shape: Annotated[tuple[int, ...], Field(min_length=1)]
    classes: Annotated[int, Field(gt=1)] | None = None
    images: Literal["photographs", "digits", "canvas", "sounds", "drawn"]
    samples: Annotated[int, Field(gt=0)]
    labels: str | None = None
    published_top1: Annotated[float, Field(gt=0, lt=100)] | None = None
    published_top5: Annotated[float, Field(gt=0, lt=100)] | None = None
    preprocessing: Preprocessing | None = None
    spectrogram: Spectrogram | None = None
    detection: Detection | None = None

    @model_validator(mode="after")
    def _says_how_inputs_are_made(self) -> CatalogueEntry:
        made_by = self.spectrogram if self.images == "sounds" else self.preprocessing
        if made_by is None and self.images != "drawn":
            wanted = "spectrogram" if self.images == "sounds" else "preprocessing"
            raise ValueError(f"{self.name}: inputs of {self.images} need [{wanted}]")
        if self.task != "regression" and self.classes is None:
            raise ValueError(f"{self.name}: {self.task} needs classes")
        return self

    def image_preprocessing(self) -> Preprocessing:
        """How an image becomes its input.

        Raises:
            ModelError: it takes no images.
        """
        if self.preprocessing is None:
            raise ModelError(f"{self.name} takes no images")
        return self.preprocessing


@cache
def entries() -> dict[str, CatalogueEntry]:
    """Every model of the catalogue by name.

    Raises:
        ModelError: catalogue.toml has an entry that can't be used.
    """
    try:
        known = tomllib.loads(DATA.read_text())
        return {name: CatalogueEntry(name=name, **entry) for name, entry in known.items()}
    except (tomllib.TOMLDecodeError, ValidationError, TypeError) as error:
        raise ModelError(f"{DATA.name} can't be used", detail=str(error)) from error


def label_list(name: str) -> Path:
    """The file with the names of a list of classes, a line each, in the order of their numbers.

    Args:
        name: as an entry's `labels` says it.
    """
    return DATA.with_name(f"{name.replace('-', '_')}.txt")
