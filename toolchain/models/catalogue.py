"""The models that are known by name: the entries of catalogue.toml."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toolchain.core.errors import ModelError
from toolchain.models.preprocessing import Preprocessing

DATA = Path(__file__).with_name("catalogue.toml")


class CatalogueEntry(BaseModel):
    """One entry of catalogue.toml; the file's head says what each key means."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    source: Literal["keras-applications", "digits"]
    constructor: str | None = None
    arguments: dict[str, bool | int | float | str] = Field(default_factory=dict)
    shape: tuple[int, int, int]
    classes: Annotated[int, Field(gt=1)]
    images: Literal["photographs", "digits"]
    samples: Annotated[int, Field(gt=0)]
    labels: str
    published_top1: Annotated[float, Field(gt=0, lt=100)] | None = None
    published_top5: Annotated[float, Field(gt=0, lt=100)] | None = None
    preprocessing: Preprocessing


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
