"""What a network's operators take on a device."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Operator(BaseModel):
    """What an operator takes of one inference, where its runtime tells.

    Attributes:
        name: its own, or that of a compiled function.
        kind: what it computes, such as Conv.
        calls: of it, an inference.
        took_ns: all of them, an inference.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Annotated[str, Field(max_length=1000)]
    kind: Annotated[str, Field(max_length=1000)]
    calls: Annotated[float, Field(gt=0)]
    took_ns: Annotated[float, Field(ge=0)]
