"""What a build's bytes must not depend on, as one value, and a second value that differs in all.

`verify` builds once under each and compares.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from toolchain.core import process
from toolchain.wheels.recipe import ROOT_IN_CONTAINER

LIBFAKETIME = "/usr/lib/*/faketime/libfaketime.so.1"


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """The surroundings of a build.

    Attributes:
        root: folder of the build in the container.
        user: "uid:gid" in the container; the caller's when empty.
        jobs: parallel compile processes.
        umask: of every command; the engine's when empty.
        hostname: of the container; the engine's choice when empty.
        env: more variables of every command.
        clock: libfaketime's library on this machine, for a clock that is far off; None for the
            right time.
        shuffled: whether folders list their files in random order.
        cold: whether the compiler's cache is empty.
        image: folder below docker/ of another image to build in; the recipe's own when empty.
    """

    root: str = ROOT_IN_CONTAINER
    user: str = ""
    jobs: int = field(default_factory=lambda: os.cpu_count() or 1)
    umask: str = ""
    hostname: str = ""
    env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    clock: Path | None = None
    shuffled: bool = False
    cold: bool = False
    image: str = ""

    def owner(self) -> str:
        """Who runs the commands: "uid:gid"."""
        return self.user or f"{os.getuid()}:{os.getgid()}"


def other() -> tuple[Conditions, list[str]]:
    """Conditions that differ from the usual ones in everything this machine can change.

    Returns:
        the conditions, and what could not be changed, with what it needs.
    """
    lacking = []
    clock = next(iter(sorted(Path("/").glob(LIBFAKETIME[1:]))), None)
    if clock is None:
        lacking.append("clock (apt-get install faketime)")
    root = os.getuid() == 0
    shuffled = root and shutil.which("disorderfs") is not None and Path("/dev/fuse").exists()
    if not shuffled:
        lacking.append("directory order (as root; apt-get install disorderfs; a /dev/fuse)")
    if not root:
        lacking.append("user (as root)")
    env = {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "USER": "other"}
    if clock is not None:
        env |= {
            "LD_PRELOAD": "/faketime.so",
            "FAKETIME": "+403d",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
    return Conditions(
        root="/home/other/a-longer-path/build",
        user="12345:54321" if root else "",
        jobs=(os.cpu_count() or 1) + 1,
        umask="0077",
        hostname="elsewhere",
        env=MappingProxyType(env),
        clock=clock,
        shuffled=shuffled,
        cold=True,
    ), lacking


@contextmanager
def in_order_of(conditions: Conditions, folder: Path) -> Iterator[Path]:
    """The folder as the build is to read it: itself, or mounted with its entries shuffled."""
    if not conditions.shuffled:
        yield folder
        return
    mounted = folder.with_name(folder.name + ".shuffled")
    mounted.mkdir()
    try:
        process.run(
            ["disorderfs", "--shuffle-dirents=yes", "-o", "allow_other", str(folder), str(mounted)]
        )
        yield mounted
    finally:
        if mounted.is_mount():
            process.run(["fusermount", "-u", "-z", str(mounted)])
