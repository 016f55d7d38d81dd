"""An image's root made by a user who is not root: in a process that is root of a user namespace.

There it may have a network namespace of its own, and files of other users, as `rootfs` needs; on
this machine it has the rights of its user and no others. The tar's bytes are those that root makes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from toolchain.core import paths, process
from toolchain.core.errors import BuildError, CommandError
from toolchain.core.worker import Job, Progress
from toolchain.lock.pins import ImageLock

# root is the user, and other users are those that /etc/subuid lends it
AS_ROOT = ("unshare", "--map-root-user", "--map-auto", "--mount")


@dataclass(frozen=True, kw_only=True)
class RootRequest:
    """What `rootfs.build` is to make.

    Attributes:
        name: of the image.
        locked: what it installs.
        files: by its sha256 the file of each package.
        tar: the file to write.
        scratch: an empty folder on the disk of the packages' files.
        epoch: SOURCE_DATE_EPOCH, seconds.
    """

    name: str
    locked: ImageLock
    files: dict[str, Path]
    tar: Path
    scratch: Path
    epoch: int


def build(request: RootRequest, progress: Progress) -> None:
    """Write the root of an image as a tar.

    Raises:
        BuildError: the packages can't be installed.
    """
    # what reads archives and indices takes half a second to import, and few runs need it
    from toolchain.images import rootfs

    rootfs.build(
        request.name,
        request.locked,
        lambda pin: request.files[pin.sha256],
        request.tar,
        request.scratch,
        epoch=request.epoch,
        progress=progress,
    )


BUILD_ROOT = Job("toolchain.images.unprivileged.root_job:build", RootRequest, type(None))


def needed() -> bool:
    """Whether this user can't make a root without a namespace."""
    return os.geteuid() != 0


def lacking() -> str:
    """Why this user can't be root of a user namespace; empty where it can."""
    try:
        process.run([*AS_ROOT, "true"])
    except CommandError as error:
        return error.output.strip() or error.brief
    return ""


def in_namespace(request: Path, on_line: Callable[[str], None]) -> None:
    """Run a job as root of a user namespace.

    Raises:
        BuildError: this machine gives this user none.
        CommandError: the job failed.
    """
    if lacks := lacking():
        raise BuildError(
            "an image's root is made as root, or in a user namespace, which this user can't have",
            detail=lacks,
            resolution="invoke doctor says what is missing; or run this as root",
        )
    process.run(
        [*AS_ROOT, sys.executable, "-P", "-m", "toolchain.core.worker", str(request)],
        env={"PYTHONPATH": str(paths.ROOT), "PYTHONUNBUFFERED": "1"},
        on_line=on_line,
    )
