"""Programs that tests need and no machine has to have: Debian's, pinned by sha256, not installed.

They come the way that sources come, through the store, and are unpacked into a folder.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from toolchain.core.errors import EdgewrightError
from toolchain.core.store import Store
from toolchain.lock import fetch
from toolchain.lock.pins import Pinned

PINS = Path(__file__).with_name("tools.json")


def install(tool: str, command: str, folder: Path) -> Path:
    """As `unpack`; the test that asks is skipped when the tool can't be had."""
    if os.uname().machine != "x86_64":
        pytest.skip(f"{tool}: the pinned packages are for x86-64")
    try:
        return unpack(tool, command, folder)
    except EdgewrightError as error:
        pytest.skip(f"{tool} can't be had: {error.brief} ({error.detail})")


def pins(tool: str) -> list[dict[str, Any]]:
    """The packages of a tool."""
    found: list[dict[str, Any]] = json.loads(PINS.read_text())[tool]
    return found


def unpack(tool: str, command: str, folder: Path) -> Path:
    """A folder for PATH in which that command of a tool is.

    Args:
        tool: an entry of tools.json.
        command: its path inside the packages.
        folder: where to put it; made.

    Raises:
        LockError: this machine's mirror does not have it.
    """
    packages = [Pinned(**entry) for entry in pins(tool)]
    for number, pin in enumerate(packages):
        fetch.unpack(pin, Store(), folder / str(number))
    libraries = ":".join(
        str(folder / str(n) / "usr/lib/x86_64-linux-gnu") for n in range(len(packages))
    )
    programs = folder / "bin"
    programs.mkdir()
    program = programs / Path(command).name
    # the variable for the program alone: what it starts is the machine's
    linker = "/lib64/ld-linux-x86-64.so.2"
    program.write_text(
        f'#!/bin/sh\nexec {linker} --library-path {libraries} {folder}/0/{command} "$@"\n'
    )
    program.chmod(0o755)
    return programs
