"""Boards by name: what is known of each before anyone has asked it. Reads boards.toml.

A target says what code is made; a board is a thing that people buy, and names the target that suits
it. What a device really is, is for its probe to say.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toolchain.core import plugins
from toolchain.core.errors import BuildError
from toolchain.targets.catalogue import all_targets

DATA = Path(__file__).with_name("boards.toml")
KIND = "boards"


class Board(BaseModel):
    """One entry of boards.toml; the file's head says what each key means."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    title: str
    models: list[str] = Field(default_factory=list)
    target: str
    cpu: str
    cores: Annotated[int, Field(gt=0)]
    memory: list[int] = Field(default_factory=list)
    note: str = ""

    def is_called(self, model: str) -> bool:
        """Whether the kernel's name of a device is this board's.

        Args:
            model: the text of /proc/device-tree/model.
        """
        return any(f"{model} ".startswith(f"{known} ") for known in self.models)


def all_boards() -> dict[str, Board]:
    """Every board by name.

    Raises:
        BuildError: an entry can't be used, or two have one name.
    """
    users = (sorted(folder.glob("*.toml")) for folder in plugins.folders(KIND))
    found: dict[str, Board] = {}
    for file in (DATA, *(path for paths in users for path in paths)):
        entries = _read(file)
        if twice := found.keys() & entries.keys():
            raise BuildError(f"{file} can't be used", detail=f"{min(twice)} is there already")
        found |= entries
    known = all_targets()
    for board in found.values():
        if board.target not in known:
            raise BuildError(
                f"the board {board.name} can't be used",
                detail=f"unknown target {board.target}; known: {', '.join(sorted(known))}",
            )
    return found


def called(model: str) -> Board | None:
    """The board that the kernel calls so; None for one that isn't known.

    Args:
        model: the text of /proc/device-tree/model; empty where there is none.
    """
    return next((board for board in all_boards().values() if board.is_called(model)), None)


@cache
def _read(file: Path) -> dict[str, Board]:
    try:
        entries = tomllib.loads(file.read_text())
        return {name: Board(name=name, **entry) for name, entry in entries.items()}
    except (OSError, tomllib.TOMLDecodeError, ValidationError, TypeError) as error:
        raise BuildError(f"{file} can't be used", detail=str(error)) from error
