"""Runs on the device: files that are whole or not there, also after a power cut.

Python's standard library only, 3.8 or newer.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import stat

MARKER = "installed.json"
MANIFEST = "manifest.json"
PENDING, RETURNING = "pending", "returning"
CHUNK = 1 << 20
HEX64 = re.compile(r"[0-9a-f]{64}")
FOLDER = re.compile(r"[0-9a-f]{16}(-\d+)?")


class Failure(Exception):
    """What goes home when a step can't be done."""

    def __init__(self, kind: str, brief: str, detail: str = "", resolution: str = "") -> None:
        super().__init__(brief)
        self.fields = {"kind": kind, "brief": brief, "detail": detail, "resolution": resolution}


def ending(code: int) -> str:
    """How a program ended, in words; empty for one that said so itself."""
    number = -code if code < 0 else code - 128
    try:
        name = signal.Signals(number).name
    except ValueError:
        return ""
    why = " (an instruction that this CPU does not have)" if number == signal.SIGILL else ""
    return f"ended by {name}{why}"


def fsync_path(path: str) -> None:
    """Bring a file's bytes, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_tree(folder: str) -> None:
    """Bring everything below a folder to the disk, inner things first."""
    for path, _, names in os.walk(folder, topdown=False):
        for name in names:
            inner = os.path.join(path, name)
            if not os.path.islink(inner):
                fsync_path(inner)
        fsync_path(path)


def write_durably(path: str, text: str) -> None:
    """A file that is whole under its name or not there at all, also after a power cut."""
    temporary = path + ".new"
    with open(temporary, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)
    fsync_path(os.path.dirname(path))


def digest(path: str) -> str:
    """The sha256 of a file."""
    found = hashlib.sha256()
    with open(path, "rb") as stream:
        for piece in iter(lambda: stream.read(CHUNK), b""):
            found.update(piece)
    return found.hexdigest()


def size_of(path: str) -> int | None:
    """The size of a file; None when there is none, or none any more: others may be at work."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def safe(path: str) -> str:
    """A path of a manifest, when it stays inside its release."""
    parts = path.split("/")
    if not path.isprintable() or any(p in ("", ".", "..", "venv", MARKER) for p in parts):
        raise Failure("refused", f"the manifest has a path that is not allowed: {path!r}")
    return path


def tree_digests(folder: str) -> tuple[str, str]:
    """Two hashes of what pip installed; what Python compiles later does not count.

    Returns:
        names and sizes, which is all that earlier versions noted; and beside these every byte,
        where each link leads, and what may be run.
    """
    shape, content = hashlib.sha256(), hashlib.sha256()
    for path, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if f != "__pycache__")
        for name in sorted(names):
            whole = os.path.join(path, name)
            info = os.lstat(whole)
            size = info.st_size if stat.S_ISREG(info.st_mode) else -1
            shape.update(f"{os.path.relpath(path, folder)}/{name} {size}\n".encode())
        for name in sorted([*folders, *names]):
            content.update(_described(folder, os.path.join(path, name)).encode())
    return shape.hexdigest(), content.hexdigest()


def _described(folder: str, path: str) -> str:
    """A line of everything that a file, folder or link is, beside its times and owner."""
    mode = os.lstat(path).st_mode
    what = "folder"
    if stat.S_ISLNK(mode):
        what = "link to " + json.dumps(os.readlink(path))
    elif stat.S_ISREG(mode):
        what = f"{digest(path)} {mode & 0o100:o}"
    elif not stat.S_ISDIR(mode):
        what = "neither"
    return f"{json.dumps(os.path.relpath(path, folder))} {what}\n"


def as_recorded(folder: str) -> bool:
    """Whether the files of every package in a venv have the bytes that its RECORD says.

    For releases whose bytes were not noted as a whole when they were laid out.
    """
    import base64
    import csv

    for path, _, names in os.walk(folder):
        if not path.endswith(".dist-info") or "RECORD" not in names:
            continue
        with open(os.path.join(path, "RECORD"), encoding="utf-8", newline="") as stream:
            try:
                rows = [(name, recorded) for name, recorded, _ in csv.reader(stream)]
            except csv.Error:
                return False
        for name, recorded in rows:
            if not recorded or "__pycache__" in name:
                continue
            kind, _, text = recorded.partition("=")
            wanted = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).hex()
            if kind != "sha256" or digest(os.path.join(path, "..", name)) != wanted:
                return False
    return True


def point(root: str, name: str, folder: str) -> None:
    """Make a symlink of the root name a release, in one rename."""
    temporary, link = os.path.join(root, f".{name}.new"), os.path.join(root, name)
    if os.path.lexists(temporary):
        os.unlink(temporary)
    os.symlink(os.path.join("releases", folder), temporary)
    os.replace(temporary, link)
    fsync_path(root)


def remove(path: str) -> None:
    """Remove a file, a link, or a folder with all that is in it."""
    if os.path.isdir(path) and not os.path.islink(path):
        import shutil

        shutil.rmtree(path)
    else:
        os.unlink(path)
