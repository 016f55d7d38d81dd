"""Runs on the device: what is below our root there. Changes nothing.

    edgewright-root  says that the folder is ours: `ownership`
    lock             held by the process that deploys: it goes when the process goes
    blobs/SHA256     what was received and verified; releases hard-link to it
    incoming/        what is being received, what is being removed
    releases/ID/     manifest.json, the payload, venv/, and the marker installed.json, written last
    current, previous   symlinks to releases/ID
    trusted_keys, accepted   whose releases may come here: `trust`
    pending          while a switch waits to be confirmed: what to go back to
    program.json, program.log   the program that lives with the releases: `service`

Python's standard library only, 3.8 or newer.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sys
from contextlib import suppress

from deploy.agent.facts import facts
from deploy.agent.files import (
    FOLDER,
    HEX64,
    MANIFEST,
    MARKER,
    PENDING,
    RETURNING,
    Failure,
    as_recorded,
    digest,
    ending,
    safe,
    size_of,
    tree_digests,
)
from deploy.agent.trust import accepted, keys

TYPE_CHECKING = False  # see steps
if TYPE_CHECKING:
    from typing import Any


class State:
    """What is there.

    Args:
        root: our folder; `~` is the user's home.
    """

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(os.path.expanduser(root))
        self.lock_file = -1
        # what is restarted with each release: see `service`
        self.program: dict[str, Any] | None = None

    def look(self, modules: list[str]) -> dict[str, Any]:
        """What the device is, and which of these modules it has. Changes nothing, needs no lock."""
        return facts(self.root, modules)

    def imports(self, modules: list[str], seconds: float) -> dict[str, str]:
        """Why modules can't be imported, by name, of those that can't. Changes nothing.

        A module that is there may lack a library, or have instructions that this CPU has not.
        """
        import subprocess

        wrong = {}
        for name in modules:
            command = [sys.executable, "-E", "-c", f"import {name}"]
            try:
                ended = subprocess.run(
                    command,
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    timeout=seconds,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                wrong[name] = f"took longer than {seconds:.0f} s"
                continue
            if ended.returncode != 0:
                said = ended.stderr.decode("utf-8", "replace").strip().splitlines()
                wrong[name] = ending(ended.returncode) or (said[-1] if said else "no reason given")
        return wrong

    def inspect(self, release: str, files: list[dict[str, Any]]) -> dict[str, Any]:
        """What is there. Changes nothing, needs no lock."""
        have, partial = [], {}
        for file in files:
            blob = self.path("blobs", self.sha256(file["sha256"]))
            if size_of(blob) == file["size"]:
                have.append(file["sha256"])
            begun = size_of(self.path("incoming", self.sha256(file["sha256"]) + ".part"))
            if begun is not None:
                partial[file["sha256"]] = begun
        return {
            "root": self.root,
            "current": self.linked("current"),
            "previous": self.linked("previous"),
            "releases": self.releases(),
            "intact": self.intact(release) if release else None,
            "have": have,
            "partial": partial,
            "holder": self.holder(),
            "pending": self.pending(),
            "keys": keys(self.root),
            "accepted": accepted(self.root) if keys(self.root) else 0,
        }

    def releases(self) -> list[dict[str, Any]]:
        """Complete releases, oldest first."""
        found = []
        for folder in self.folders():
            marker = self.marker(folder)
            if marker is not None:
                found.append({"folder": folder, **marker})
        return sorted(found, key=lambda entry: entry["serial"])

    def intact(self, release: str) -> str | None:
        """The folder of a complete release with that id, when its every byte is as it should be."""
        for entry in self.releases():
            if entry["release"] == release and self.whole(entry["folder"]):
                return str(entry["folder"])
        return None

    def whole(self, folder: str) -> bool:
        """Whether a release is complete and every byte of it is as it should be."""
        base, marker = self.release(folder), self.marker(folder)
        try:
            manifest = self.manifest(folder)
            return (
                marker is not None
                and manifest["release"] == marker["release"] == self.identity(manifest)
                and all(
                    digest(os.path.join(base, safe(file["path"]))) == file["sha256"]
                    for file in manifest["files"]
                )
                and self.installed(os.path.join(base, "venv"), marker)
            )
        except (OSError, ValueError, KeyError, TypeError, Failure):
            return False

    def installed(self, venv: str, marker: dict[str, Any]) -> bool:
        """Whether a venv is, byte by byte, what was noted when its release was complete."""
        shape, content = tree_digests(venv)
        if "content" in marker:
            return (shape, content) == (marker["venv"], marker["content"])
        # laid out by a version that noted names and sizes alone
        return bool(shape == marker["venv"]) and as_recorded(venv)

    def manifest(self, folder: str) -> dict[str, Any]:
        """A release's manifest."""
        with open(os.path.join(self.release(folder), MANIFEST), encoding="utf-8") as stream:
            found = json.load(stream)
        if not isinstance(found, dict):
            raise ValueError(folder)  # noqa: TRY004 (bad content, like any that json refuses)
        return found

    def sha256(self, text: str) -> str:
        """A hash that is safe as a file's name."""
        if not HEX64.fullmatch(text):
            raise Failure("refused", f"not a sha256: {text!r}")
        return text

    def path(self, *parts: str) -> str:
        """A path below the root."""
        return os.path.join(self.root, *parts)

    def release(self, folder: str) -> str:
        """The path of a release, by its folder's name."""
        if not FOLDER.fullmatch(folder):
            raise Failure("refused", f"not a release folder: {folder!r}")
        return self.path("releases", folder)

    def folders(self) -> list[str]:
        """Names of all release folders, complete or not."""
        try:
            return sorted(n for n in os.listdir(self.path("releases")) if FOLDER.fullmatch(n))
        except FileNotFoundError:
            return []

    def identity(self, manifest: dict[str, Any]) -> str:
        """The id that a manifest must have: the hash of its other fields."""
        rest = {key: value for key, value in manifest.items() if key != "release"}
        text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def marker(self, folder: str) -> dict[str, Any] | None:
        """What was noted when a release was complete; None for one that is not."""
        try:
            with open(os.path.join(self.release(folder), MARKER), encoding="utf-8") as stream:
                marker = json.load(stream)
            return marker if isinstance(marker, dict) and "serial" in marker else None
        except (OSError, ValueError):
            return None

    def id_of(self, folder: str | None) -> str:
        """The id of a complete release; empty for anything else."""
        return str((self.marker(folder) or {}).get("release", "")) if folder else ""

    def linked(self, name: str) -> str | None:
        """The release folder that `current` or `previous` names."""
        try:
            folder = os.path.basename(os.readlink(self.path(name)))
        except OSError:
            return None
        return folder if FOLDER.fullmatch(folder) else None

    def pending(self) -> dict[str, Any] | None:
        """What an unconfirmed switch goes back to: `back` and `previous`."""
        for name in (RETURNING, PENDING):
            try:
                with open(self.path(name), encoding="utf-8") as stream:
                    noted = json.load(stream)
                return {key: noted[key] for key in ("back", "previous")}
            except (OSError, ValueError, KeyError, TypeError):
                continue
        return None

    def pending_program(self) -> dict[str, Any] | None:
        """The program that an unconfirmed switch restarted, and that going back restarts."""
        for name in (RETURNING, PENDING):
            with suppress(OSError, ValueError, AttributeError):
                with open(self.path(name), encoding="utf-8") as stream:
                    found = json.load(stream).get("program")
                return found if isinstance(found, dict) else None
        return None

    def holder(self) -> str | None:
        """Who holds the lock; None when nobody does."""
        try:
            descriptor = os.open(self.path("lock"), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            name = os.read(descriptor, 200).decode("utf-8", "replace")
            if self.lock_file >= 0:
                return None
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return name or "?"
            return None
        finally:
            os.close(descriptor)
