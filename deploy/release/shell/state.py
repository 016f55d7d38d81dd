"""What is below our folder on a device without Python, as its agent says it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pydantic import BaseModel, ConfigDict

from deploy.release.agent_answers import Folder, Release


class Said:
    """Lines of an answer that begin with what they tell."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._pairs = [line.partition(" ")[::2] for line in lines]

    def every(self, key: str) -> list[str]:
        """What it says of that, in its order."""
        return [value for name, value in self._pairs if name == key]

    def first(self, key: str) -> str:
        """The first that it says of that; empty when it says nothing."""
        return next(iter(self.every(key)), "")


class Marker(Release):
    """What was noted when a release was complete."""

    venv: str = ""
    content: str = ""


class Pending(BaseModel):
    """What an unconfirmed switch goes back to."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    back: Folder | None
    previous: Folder | None
    program: dict[str, Any] | None = None


class There(BaseModel):
    """What is below our folder."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    current: Folder | None = None
    previous: Folder | None = None
    holder: str | None = None
    pending: Pending | None = None
    releases: list[Marker] = []
    keys: list[str] = []

    def marker(self, folder: str | None) -> Marker | None:
        """What was noted of a complete release; None for anything else."""
        return next((r for r in self.releases if r.folder == folder), None)

    def id_of(self, folder: str | None) -> str:
        """The id of a complete release; empty for anything else."""
        marker = self.marker(folder)
        return marker.release if marker else ""


def read(lines: Sequence[str]) -> There:
    """What the step `state` says.

    Raises:
        ValueError: it can't be read.
    """
    said = Said(lines)
    releases, pending = [], None
    for line in said.every("release"):
        folder, _, text = line.partition(" ")
        # one whose marker went bad is none
        with suppress(ValueError, TypeError, RecursionError):
            releases.append(Marker.model_validate({**json.loads(text), "folder": folder}))
    with suppress(ValueError):
        pending = Pending.model_validate_json(said.first("pending"))
    return There(
        current=said.first("current") or None,
        previous=said.first("previous") or None,
        holder=said.first("holder")[:200] or None,
        pending=pending,
        keys=[line.strip() for line in said.every("key") if line.strip()],
        releases=sorted(releases, key=lambda release: release.serial),
    )


def number(text: str) -> int:
    """A count that a device says; -1, which fits no answer, for what is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else -1
