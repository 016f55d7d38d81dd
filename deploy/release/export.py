"""A bundle as a folder or an archive of its own, with a program that installs it on a device.

It needs neither this tool nor SSH there: for boards that are reached by a memory card, an image
builder or someone else's deployment.
"""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import tarfile
import tempfile
from pathlib import Path

from toolchain.core import paths
from toolchain.core.errors import NoSpaceError, UsageError

PROGRAM = paths.ROOT / "deploy" / "agent" / "programs" / "install.py"
ARCHIVE = ".tar.gz"


def export(bundle: Path, name: str, to: Path) -> Path:
    """Write a bundle with its installer.

    Args:
        bundle: its folder.
        name: of the folder inside an archive.
        to: a file that ends in .tar.gz, or a folder that is not there yet or is empty. The same
            bundle gives the same bytes.

    Returns:
        what was written.

    Raises:
        UsageError: something is there already, or it can't be written.
        NoSpaceError: the disk is full.
    """
    if os.path.lexists(to) and not _is_empty_folder(to):
        raise UsageError(f"{to} is there already", resolution="name a path that is not there yet")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        _place(bundle, name, to)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        kind = NoSpaceError if full else UsageError
        raise kind(
            f"{to} can't be written", detail=str(error), resolution="name another path by --to"
        ) from error
    return to


def _is_empty_folder(path: Path) -> bool:
    """Whether a folder can take its place: one of the user's own, without a link to it."""
    is_folder = path.is_dir() and not path.is_symlink() and not path.name.endswith(ARCHIVE)
    return is_folder and not any(path.iterdir())


def _place(bundle: Path, name: str, to: Path) -> None:
    # it has its name when it is whole: half of one would look like any other
    with tempfile.TemporaryDirectory(dir=to.parent, prefix=".export-") as scratch:
        begun = Path(scratch) / to.name
        _write(bundle, name, begun)
        begun.replace(to)


def _write(bundle: Path, name: str, to: Path) -> None:
    if not to.name.endswith(ARCHIVE):
        shutil.copytree(bundle, to)
        shutil.copyfile(PROGRAM, to / PROGRAM.name)
        return
    files = {path.relative_to(bundle).as_posix(): path for path in bundle.rglob("*")}
    files = {place: path for place, path in files.items() if path.is_file()}
    with (
        to.open("xb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for place, path in sorted({**files, PROGRAM.name: PROGRAM}.items()):
            entry = tarfile.TarInfo(f"{name}/{place}")
            entry.size = path.stat().st_size
            with path.open("rb") as stream:
                tar.addfile(entry, stream)
