"""Types of fields that several files of ours have."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

# In hex.
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
