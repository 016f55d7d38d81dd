"""Deploys through the agent of a device without Python, as `Session` does through that in Python.

That agent does single steps and decides nothing; what `deploy.agent` decides on a device is decided
here, on the same folders and files. Nothing that a device says goes back to it unchecked.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from deploy.agent.files import Failure, safe
from deploy.inventory.program import NONE, START_LIMIT, Program
from deploy.release.agent_answers import (
    Inspection,
    LaidOut,
    MissingFile,
    Pending,
    Preparation,
    Release,
    SelfCheck,
    SwitchedBack,
    Undone,
)
from deploy.release.agent_session import SPARE, VERIFY_LIMIT
from deploy.release.shell import facts, state
from deploy.release.shell.agent import ShellAgent
from deploy.release.shell.state import Said, There, number
from deploy.ssh.remote_process import RemoteProcess
from toolchain.bundle.assemble import File, Manifest, release_id
from toolchain.core.errors import DeviceRefused, ReleaseError
from toolchain.core.signing import Seal

T = TypeVar("T")

MOST_WORDS = 200  # of a request
# what `deploy.agent.files.tree_digests` says of a venv that is not there: sha256 of nothing
NO_VENV = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


class ShellSession(ShellAgent):
    """A running agent of a device without Python. Raises what `Session` raises."""

    def __init__(self, name: str, process: RemoteProcess) -> None:
        super().__init__(name, process)
        self._program = NONE
        self._manifests: dict[str, str] = {}

    def look(self, modules: Sequence[str]) -> dict[str, Any]:
        """What the device is, in the words of `deploy.agent.facts`."""
        said = Said(self.step("look"))
        if lacking := said.every("lacks"):
            raise DeviceRefused(
                f"{self.name}: it has no Python, and no {', '.join(lacking)} to do without it",
                resolution="there: apt-get install python3 python3-numpy; or a busybox (1.31 or "
                "later) that has these",
            )
        try:
            return facts.facts(said, self.root, modules)
        except (ValueError, IndexError, OverflowError) as error:
            raise self.unreadable(str(error)) from error

    def imports(self, modules: Sequence[str]) -> dict[str, str]:
        """Nothing: there are none."""
        del modules
        return {}

    def inspect(self, release: str = "", files: Sequence[File] = ()) -> Inspection:
        """As `Session.inspect`."""
        there = self._state()
        have, partial = [], {}
        for some in _some(files):
            sizes = [word for file in some for word in (file.sha256, str(file.size))]
            for line in self.step("have", *sizes, limit=VERIFY_LIMIT):
                what, sha256, size = [*line.split(" "), "", ""][:3]
                if what == "have":
                    have.append(sha256)
                else:
                    partial[sha256] = number(size)
        pending = there.pending
        try:
            return Inspection(
                root=self.root,
                current=there.current,
                previous=there.previous,
                releases=[
                    Release(**marker.model_dump(exclude={"venv", "content"}))
                    for marker in there.releases
                ],
                intact=self._intact(there, release) if release else None,
                have=have,
                partial=partial,
                holder=there.holder,
                pending=Pending(back=pending.back, previous=pending.previous) if pending else None,
                keys=there.keys,
                accepted=0,
            )
        except ValidationError as error:
            raise self.unreadable(str(error)) from error

    def lock(self, who: str) -> None:
        """As `Session.lock`."""
        pending = self._state().pending
        words = _command((pending.program if pending else None) or {}, "service")
        self.step("lock", who, *words, limit=START_LIMIT + SPARE)

    def authorize(self, release: str, seal: Seal | None) -> None:
        """Refuse a device that has keys: it can't check a seal."""
        del release, seal
        self.step("authorize")

    def trust(self, key: str) -> bool:
        """Refused: what can't check a seal must not be given a key."""
        del key
        raise DeviceRefused(
            f"{self.name}: without Python it can check no signature",
            resolution="install python3 there; without it, keys are a file there: trusted_keys",
        )

    def distrust(self, key: str) -> None:
        """Refused, as `trust` is."""
        self.trust(key)

    def remove(self, folder: str, *, previous: bool) -> None:
        """As `Session.remove`."""
        there = self._state()
        problem, resolution = "", ""
        if there.marker(folder) is None:
            problem = "is not a complete release here"
        elif folder == there.current:
            problem = "is the release that runs"
            resolution = "switch to another first (invoke rollback), then remove it"
        elif folder == there.previous and not previous:
            problem = "is what a rollback goes back to"
            resolution = "--force removes it all the same"
        if problem:
            raise ReleaseError(f"{self.name}: {folder} {problem}", resolution=resolution)
        if folder == there.previous:
            self.step("forget")
        self.step("drop", folder, limit=VERIFY_LIMIT)

    def prepare(self, files: Sequence[File]) -> Preparation:
        """As `Session.prepare`."""
        self.step("prepare", limit=VERIFY_LIMIT)
        missing = []
        unique = {file.sha256: file for file in files}
        for some in _some(list(unique.values())):
            sizes = [word for file in some for word in (file.sha256, str(file.size))]
            for line in self.step("missing", *sizes, limit=VERIFY_LIMIT):
                sha256, size, offset = [*line.split(" "), "", ""][:3]
                try:
                    missing.append(
                        MissingFile(sha256=sha256, size=number(size), offset=number(offset))
                    )
                except ValidationError as error:
                    raise self.unreadable(line) from error
        return Preparation(missing=missing, incoming=f"{self.root}/incoming")

    def take(self, sha256: str) -> bool:
        """As `Session.take`."""
        return self.step("take", sha256, limit=VERIFY_LIMIT) == ["yes"]

    def assemble(self, manifest: str) -> str:
        """As `Session.assemble`."""
        fields = json.loads(manifest)
        content = Manifest.model_validate(fields)
        if release_id(fields) != content.release:
            raise ReleaseError("the manifest's id is not the hash of its content")
        pairs = _pairs(content)
        folder = self._folder("\n".join(self.step("begin", content.release[:16])))
        for some in _some(pairs):
            words = [word for pair in some for word in pair]
            self.step("place", folder, *words, limit=VERIFY_LIMIT)
        self._manifests[folder] = json.dumps(fields, sort_keys=True)
        return folder

    def install(self, folder: str) -> None:
        """Nothing: a release for a device without Python has no wheels."""

    def check(self, folder: str, program: str, artifacts: Sequence[tuple[str, str]]) -> SelfCheck:
        """Compare every file with the manifest: there is no runtime to load models with."""
        del program, artifacts
        manifest = self._manifest(folder)
        if manifest is not None and (wrong := self._wrong(folder, manifest)):
            raise ReleaseError(
                f"{self.name}: {wrong[0]} is damaged there",
                resolution="deploy again; if it stays so, the device's disk or memory is failing",
            )
        return SelfCheck(imported=[], models=0)

    def finish(self, folder: str) -> None:
        """As `Session.finish`."""
        there, text = self._state(), self._manifests[folder]
        fields = json.loads(text)
        marker = {
            "release": fields["release"],
            "serial": 1 + max((r.serial for r in there.releases), default=0),
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "models": [model["model"] for model in fields["models"]],
            "venv": NO_VENV,
            "content": NO_VENV,
        }
        self.step("finish", folder, text, json.dumps(marker), limit=VERIFY_LIMIT)

    def abandon(self) -> None:
        """As `Session.abandon`."""
        self.step("abandon")

    def switch(self, folder: str, *, confirm_within: float) -> bool:
        """As `Session.switch`."""
        there = self._state()
        running = there.current
        if running == folder:
            return False
        note = {
            "back": running,
            "previous": there.previous,
            "program": self._program.plain() if self._program else None,
        }
        # what ran may be the same release, damaged: that is no place to go back to
        same = there.id_of(running) == there.id_of(folder)
        before = "" if running is None or same else running
        seconds = str(math.ceil(confirm_within))
        self.step("switch", folder, seconds, json.dumps(note), before, *self._service())
        return True

    def confirm(self) -> None:
        """As `Session.confirm`."""
        self.step("confirm")

    def attend(self, program: Program) -> str:
        """As `Session.attend`; of a service or a check it can be the command alone."""
        plain = program.plain()
        for key, other in (("service", "unit"), ("health", "url")):
            block = plain[key] or {}
            if block.get(other):
                return f"it has no Python, so edgewright.{key} must be a command there, not {other}"
            if block.get("command"):
                for problem in self.step("absent", block["command"][0]):
                    return problem
        self._program = program
        return ""

    def runs(self) -> bool:
        """As `Session.runs`."""
        return not self._service() or "yes" in self.step("runs")[1:]

    def restart(self, program: Program) -> None:
        """As `Session.restart`."""
        service, health = self._service(), _command(program.plain(), "health")[1:]
        within = str(math.ceil(program.health.within)) if program.health else "0"
        words = (within, str(len(service)), *service, *health)
        self.step("restart", *words, limit=program.longest() + SPARE)

    def undo(self) -> Undone:
        """As `Session.undo`."""
        back, *more = self.step("undo", *self._service(), limit=START_LIMIT + SPARE) or ("",)
        runs = not back or not self._service() or "yes" in more
        return Undone(back=self._folder(back) if back else None, runs=runs)

    def rollback(self, to: str = "") -> SwitchedBack:
        """As `Session.rollback`."""
        there = self._state()
        running, back = there.current, to or there.previous
        if to and (to == running or there.marker(to) is None):
            why = "runs already" if to == running else "is not a complete release here"
            raise ReleaseError(
                f"{self.name}: {to} {why}",
                resolution="invoke releases lists those that are here",
            )
        if back is None or back == running or there.marker(back) is None:
            older = [r.folder for r in there.releases if r.folder != running]
            back = older[-1] if older else None
        if running is None or back is None:
            raise ReleaseError(
                f"{self.name}: there is no earlier release to go back to",
                resolution="invoke deploy sends another one; then there is",
            )
        damaged = ""
        if not self._whole(there, back):
            damaged, back = back, self._laid_out_again(there, back)
        self.step("back", back, running)
        if damaged:
            self.step("drop", damaged)
        release = there.id_of(damaged or back)
        return SwitchedBack.model_validate({"from": running, "to": back, "release": release})

    def clean(self, keep: int) -> list[str]:
        """As `Session.clean`."""
        there = self._state()
        runs = there.current
        complete = [r.folder for r in there.releases]
        # another folder of the release that runs is a damaged one, which was laid out again
        kept = [f for f in complete if f == runs or there.id_of(f) != there.id_of(runs)]
        needed = {runs, there.previous, *(kept[-keep:] if keep > 0 else [])}
        gone = [folder for folder in complete if folder not in needed]
        self.step("clean", *gone, limit=VERIFY_LIMIT)
        return gone

    def _service(self) -> list[str]:
        return _command(self._program.plain(), "service")

    def _state(self) -> There:
        try:
            return state.read(self.step("state"))
        except (ValueError, TypeError, RecursionError) as error:
            raise self.unreadable(str(error)) from error

    def _intact(self, there: There, release: str) -> str | None:
        """The folder of a complete release with that id, when its every byte is as it should be."""
        of_it = (r.folder for r in there.releases if r.release == release)
        return next((folder for folder in of_it if self._whole(there, folder)), None)

    def _whole(self, there: There, folder: str) -> bool:
        """Whether a release is complete, has no venv, and every byte of it is as it should be."""
        marker, manifest = there.marker(folder), self._manifest(folder)
        return (
            marker is not None
            and manifest is not None
            and manifest.release == marker.release
            and (marker.venv, marker.content) == (NO_VENV, NO_VENV)
            and not self._wrong(folder, manifest)
        )

    def _manifest(self, folder: str) -> Manifest | None:
        """A release's manifest; None for one that can't be used."""
        text = self._manifests.get(folder)
        if text is None:
            text = "\n".join(self.step("manifest", folder))
        try:
            fields = json.loads(text)
            manifest = Manifest.model_validate(fields)
            _pairs(manifest)
        except (ValueError, TypeError, RecursionError, ReleaseError):
            return None
        return manifest if release_id(fields) == manifest.release else None

    def _wrong(self, folder: str, manifest: Manifest) -> list[str]:
        """The files of a release that are not what its manifest says."""
        found = []
        for some in _some(_pairs(manifest)):
            words = [word for pair in some for word in pair]
            found += self.step("verify", folder, *words, limit=VERIFY_LIMIT)
        return [line.removeprefix("wrong ") for line in found]

    def _laid_out_again(self, there: There, folder: str) -> str:
        """A complete release with the id of a damaged one, from what was received; its folder."""
        manifest = self._manifest(folder)
        known = manifest is not None and manifest.release == there.id_of(folder)
        if manifest is None or not known or self.prepare(manifest.files).missing:
            raise ReleaseError(
                f"{self.name}: the earlier release {folder} is damaged",
                detail="so are the files that it was made of",
                resolution="deploy a release anew: invoke deploy",
            )
        laid_out = self.assemble("\n".join(self.step("manifest", folder)))
        self.finish(laid_out)
        return laid_out

    def _folder(self, said: str) -> str:
        try:
            return LaidOut.model_validate(said).root
        except ValidationError as error:
            raise self.unreadable(said) from error


def _command(program: dict[str, Any], key: str) -> list[str]:
    """A command of a program's as JSON, which is noted there, and then its words; none for none."""
    block = program.get(key)
    words = block.get("command") if isinstance(block, dict) else None
    if not isinstance(words, list) or not words or not all(isinstance(w, str) for w in words):
        return []
    return [json.dumps(words), *words]


def _pairs(manifest: Manifest) -> list[tuple[str, str]]:
    """The sha256 and the path of each file.

    Raises:
        ReleaseError: a path leads out of the release.
    """
    try:
        return [(file.sha256, safe(file.path)) for file in manifest.files]
    except Failure as failure:
        raise ReleaseError(str(failure)) from failure


def _some(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), MOST_WORDS):
        yield values[start : start + MOST_WORDS]
