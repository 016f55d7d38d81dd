"""Types of what is counted and when: as far as statistics and calendars go.

What a device says is held against them, so that no report ends over it later.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field

MOST = (1 << 63) - 1
Count = Annotated[int, Field(ge=0, le=MOST)]
Positive = Annotated[int, Field(ge=1, le=MOST)]


def _within_calendars(at: datetime) -> datetime:
    """A moment that every time zone has a date for."""
    if not 1970 <= at.year < 9000:
        raise ValueError("nothing was measured in that year")
    return at


Moment = Annotated[AwareDatetime, AfterValidator(_within_calendars)]
