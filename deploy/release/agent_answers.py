"""What the agent may answer, a type each: nothing of a device is used before it fits one of these.

Of an entry of `releases` a device may say less or more than this version would: an earlier or a
later one may have written it. What each step does stands with it, in `deploy.agent`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, RootModel

from toolchain.core.field_types import Sha256

# as the agent names releases: of the id's first half, and a number from the second of that name on
Folder = Annotated[str, Field(pattern=r"^[0-9a-f]{16}(-\d+)?$")]
Size = Annotated[int, Field(ge=0)]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Failed(_Answer):
    """Why a step could not be done, as an error of ours says it."""

    kind: str
    brief: str
    detail: str
    resolution: str


class Reply(_Answer):
    """A line of the agent: what a step came to, or why it failed."""

    ok: Any = None
    failed: Failed | None = None


class Hello(_Answer):
    """The agent's first words: our folder there, absolute, and its Python's version."""

    root: str
    python: str


class Release(BaseModel):
    """A complete release on a device. `at` is when it was complete, in UTC."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    folder: Folder
    serial: int
    release: str = ""
    at: str = ""
    models: list[str] = []


class Pending(_Answer):
    """What a switch that nobody confirmed goes back to: the running and the previous release."""

    back: Folder | None
    previous: Folder | None


class Inspection(_Answer):
    """What is below our folder on a device.

    Attributes:
        root: the folder, absolute.
        current: the release that `current` leads to.
        previous: the one that ran before.
        releases: the complete ones, oldest first.
        intact: the folder of the release that was asked for, when its every byte is as it should.
        have: the sha256 of the files asked for that are there.
        partial: sha256 -> bytes there, of files that began to come.
        holder: who deploys to it just now.
        pending: there while a switch waits to be confirmed.
        keys: public keys whose releases it takes; it takes any when there are none.
        accepted: the counter of the newest seal that it took; 0 before the first.
    """

    root: str
    current: Folder | None
    previous: Folder | None
    releases: list[Release]
    intact: Folder | None
    have: list[Sha256]
    partial: dict[Sha256, Size]
    holder: str | None
    pending: Pending | None
    keys: list[str]
    accepted: int


class MissingFile(_Answer):
    """A file that has to be sent, from the byte `offset` on."""

    sha256: Sha256
    size: Size
    offset: Size


class Preparation(_Answer):
    """What has to be sent, and to which folder."""

    missing: list[MissingFile]
    incoming: str


class LaidOut(RootModel[Folder]):
    """The folder of a new release."""

    model_config = ConfigDict(frozen=True, strict=True)


class SelfCheck(_Answer):
    """What works in a new release: packages that import, and how many models load."""

    imported: list[str]
    models: Size


class Undone(_Answer):
    """Where a switch that was undone went back to, and whether the user's program runs there."""

    back: Folder | None
    runs: bool


class SwitchedBack(_Answer):
    """From which release a rollback went to which, and the id of that one."""

    replaced: Folder = Field(alias="from")
    folder: Folder = Field(alias="to")
    release: str
