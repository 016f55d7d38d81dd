"""Unpacks archives whose bytes were checked: from a file of the store to a folder.

By an allow-list: regular files, folders and links that stay inside.
"""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from debian.debfile import DebError, DebFile

from toolchain.core.errors import LockError
from toolchain.core.store import explain_no_space
from toolchain.core.worker import Job, Progress, call


def unpack(archive: Path, name: str, into: Path, parts: Sequence[str] = ()) -> None:
    """Unpack a source archive, without its single top folder where it has one.

    A wheel and a Debian package (its data alone) are unpacked as they are.

    Args:
        archive: the file.
        name: its own name, which says what it is.
        into: the folder to make.
        parts: files and folders of a tar archive, below its top folder, to unpack; all when empty.

    Raises:
        LockError: it is no archive, lacks a part, or holds a member that is not allowed.
    """
    into.mkdir(parents=True)
    try:
        if name.endswith((".whl", ".zip")):
            unpack_zip(archive, into)
        elif name.endswith(".deb"):
            _unpack_deb(archive, into)
        else:
            _unpack_tar(archive, into, parts)
    except (tarfile.TarError, zipfile.BadZipFile, DebError, ValueError) as error:
        raise LockError(f"{name} can't be unpacked", detail=str(error)) from error
    if not name.endswith((".whl", ".deb")):
        _strip_top(into)
    absent = [part for part in parts if not (into / part).exists()]
    if absent:
        raise LockError(f"{name} lacks what is wanted of it", detail=", ".join(absent))


@dataclass(frozen=True, kw_only=True)
class UnpackRequest:
    """What `unpack` takes, for another process."""

    archive: Path
    name: str
    into: Path
    parts: tuple[str, ...]


UNPACK = Job("toolchain.lock.unpack:unpack_as_asked", UnpackRequest, type(None))


def unpack_apart(archive: Path, name: str, into: Path, parts: Sequence[str] = ()) -> None:
    """Unpack in a process of its own, for large sources: Python's threads would take turns.

    Arguments and errors are those of `unpack`.
    """
    request = UnpackRequest(archive=archive, name=name, into=into, parts=tuple(parts))
    call(UNPACK, request, what=f"unpacking {name}")


def unpack_as_asked(request: UnpackRequest, _progress: Progress) -> None:
    """The process's side of `unpack_apart`."""
    with explain_no_space(request.into.parent):  # only our own errors come back from there
        unpack(request.archive, request.name, request.into, request.parts)


def _unpack_tar(archive: Path, into: Path, parts: Sequence[str]) -> None:
    with tarfile.open(archive) as tar:
        wanted = (m for m in tar if not parts or _is_below(m.name, parts))
        # the filter refuses what leaves the folder and what is no file, folder or link
        tar.extractall(into, members=wanted, filter="data")


def _is_below(member: str, parts: Sequence[str]) -> bool:
    """Whether a member is one of the parts, or inside of one, below the archive's top folder."""
    _, _, below = member.removeprefix("./").partition("/")
    return f"{below}/".startswith(tuple(f"{part}/" for part in parts))


def unpack_zip(archive: Path, into: Path) -> None:
    """Unpack a zip archive or a wheel; refuse one that leaves the folder.

    Raises:
        ValueError: it does.
    """
    with zipfile.ZipFile(archive) as bundle:
        for member in bundle.infolist():
            name = PurePosixPath(member.filename)
            if name.is_absolute() or ".." in name.parts:
                raise ValueError(f"a member that leaves the folder: {member.filename}")
        bundle.extractall(into)  # noqa: S202


def _unpack_deb(archive: Path, into: Path) -> None:
    with archive.open("rb") as stream:
        DebFile(fileobj=stream).data.tgz().extractall(into, filter="data")


def _strip_top(folder: Path) -> None:
    children = list(folder.iterdir())
    if len(children) != 1 or not children[0].is_dir():
        return
    top = children[0].rename(folder.with_name(folder.name + ".top"))
    for child in top.iterdir():
        child.rename(folder / child.name)
    shutil.rmtree(top)
