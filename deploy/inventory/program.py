"""A user's program on a device, as an inventory describes it: what is restarted, what is well.

`deploy.agent.service` does on the device what is said here.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

# seconds that systemd may take to stop and start a unit
START_LIMIT = 100.0
LONGEST = 600.0


def _split(value: str) -> str:
    try:
        parts = shlex.split(value)
    except ValueError as error:
        why = {"why": str(error)}
        raise PydanticCustomError("command", "is no command: {why}", why) from error
    if not parts or not value.isprintable():
        raise PydanticCustomError("command", "must be a program and its arguments")
    return value


Command = Annotated[str, StringConstraints(min_length=1, max_length=4096), AfterValidator(_split)]
Unit = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9:_.@\\-]{0,200}$")]
Url = Annotated[str, StringConstraints(pattern=r"^http://[A-Za-z0-9._\[\]:-]+(/[!-~]*)?$")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _one_of(block: BaseModel, first: str, second: str) -> None:
    if (getattr(block, first) is None) == (getattr(block, second) is None):
        raise PydanticCustomError("either", f"must have either {first} or {second}")


class Service(_Strict):
    """What is restarted when a device runs another release."""

    unit: Unit | None = Field(None, description="a unit of systemd, such as detector.service")
    manager: Literal["system", "user"] = Field(
        "system", description="whose unit it is: the system's, or the login's own"
    )
    command: Command | None = Field(
        None, description="a program and its arguments, without a shell, started by us"
    )

    @model_validator(mode="after")
    def _either(self) -> Service:
        _one_of(self, "unit", "command")
        return self


class Health(_Strict):
    """What must succeed on the device before a release counts."""

    command: Command | None = Field(None, description="a program that ends with status 0")
    url: Url | None = Field(None, description="an http:// address that answers 200 to 399")
    within: Annotated[float, Field(gt=0, le=LONGEST)] = Field(
        30.0, description="seconds from the start in which it must succeed once"
    )

    @model_validator(mode="after")
    def _either(self) -> Health:
        _one_of(self, "command", "url")
        return self


@dataclass(frozen=True, kw_only=True)
class Program:
    """What lives with the releases of a device."""

    service: Service | None = None
    health: Health | None = None

    def __bool__(self) -> bool:
        """Whether there is anything to restart or to look at."""
        return self.service is not None or self.health is not None

    def longest(self) -> float:
        """Seconds after which a restart has succeeded or failed."""
        return START_LIMIT + (self.health.within if self.health else 0)

    def plain(self) -> dict[str, Any]:
        """For `deploy.agent.service`."""
        return {"service": _plain(self.service), "health": _plain(self.health)}

    def steps(self) -> list[str]:
        """What a deployment will do with it, in words."""
        found = []
        if self.service is not None:
            found.append(f"restart {self.service.unit or self.service.command}")
        if self.health is not None:
            what = self.health.url or self.health.command
            found.append(f"go back unless within {self.health.within:g} s this succeeds: {what}")
        return found

    def steps_unchanged(self) -> list[str]:
        """What a deployment of the release that runs already will do with it, in words."""
        if self.service is None:
            return []
        return [f"start {self.service.unit or self.service.command}, unless it runs"]


NONE = Program()


def _plain(block: BaseModel | None) -> dict[str, Any] | None:
    if block is None:
        return None
    given = block.model_dump(exclude_none=True)
    return given | ({"command": shlex.split(given["command"])} if "command" in given else {})
