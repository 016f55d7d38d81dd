"""A device of the tests: a folder, the agent's own steps on it, and what must be true of it.

Everything but pip and the self-check is the product's: release's order of steps, the session, the
agent. Those two are replaced by an unpacked wheel, so that a round takes a fraction of a second.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from deploy.agent.state import State
from deploy.inventory.reading import Device
from deploy.release import deployment
from deploy.release.agent_session import AGENT, MODULES, Session
from deploy.release.plan import Outcome
from deploy.ssh.connection import Connection
from deploy.ssh.remote_process import RemoteProcess
from toolchain.bundle import assemble
from toolchain.core.errors import EdgewrightError


class Agent:
    """The agent's modules, with one place of their source changed when a mutation is given.

    Args:
        mutation: module, text that stands there once, text to stand there instead.
    """

    def __init__(self, mutation: tuple[str, str, str] | None = None) -> None:
        kept = {n: m for n, m in sys.modules.items() if n.startswith("deploy.agent")}
        try:
            for name in MODULES:
                text = (AGENT / f"{name}.py").read_text()
                if mutation is not None and mutation[0] == name:
                    assert text.count(mutation[1]) == 1, f"{mutation[1]!r} is not in {name} once"
                    text = text.replace(mutation[1], mutation[2])
                module = types.ModuleType(f"deploy.agent.{name}")
                sys.modules[module.__name__] = module
                exec(compile(text, f"{name}.py", "exec"), module.__dict__)  # noqa: S102 (own source)
            self.handle = sys.modules["deploy.agent.main"].handle
            steps = sys.modules["deploy.agent.steps"].Steps
        finally:
            sys.modules.update(kept)
        # no child waits for the confirmation: a cut takes it too, and then the next lock goes back
        alone = {"install": _unpack, "check": _look, "guard": lambda *_: None}
        self.steps = type("Quick", (steps,), alone)


def _unpack(steps: Any, folder: str, seconds: float) -> None:
    """What pip would leave, for wheels of pure Python."""
    base = steps.release(folder)
    os.makedirs(os.path.join(base, "venv", "bin"))  # noqa: PTH103, PTH118 (spelled as calls)
    os.symlink(sys.executable, os.path.join(base, "venv", "bin", "python"))  # noqa: PTH118, PTH211
    site = Path(base, "venv", "site-packages")
    for wheel in steps.manifest(folder)["wheels"]:
        with zipfile.ZipFile(Path(base, wheel)) as archive:
            archive.extractall(site)


def _look(
    steps: Any, folder: str, program: str, arguments: list[str], seconds: float
) -> dict[str, Any]:
    return {"imported": ["tiny"], "models": 0}


class _Process:
    """Stands for the agent's process: a request is answered as soon as it is written."""

    def __init__(self, agent: Agent, root: Path, heard: Callable[[str, Any], None]) -> None:
        self._agent, self._heard = agent, heard
        self.steps = agent.steps(str(root))
        self._answers: list[str] = []

    def write(self, content: bytes) -> None:
        request = json.loads(content)
        answer = self._agent.handle(self.steps, request)
        self._heard(request["do"], answer)
        self._answers.append(json.dumps(answer))

    def line(self, *, within: float | None = None) -> str:
        return self._answers.pop(0)

    def close(self) -> None:
        if self.steps.lock_file >= 0:
            os.close(self.steps.lock_file)


class _Link:
    """Stands for the connection: SFTP's way to put a file there. `flip` harms what it sends."""

    def __init__(self, flip: Callable[[bytes], bytes]) -> None:
        self.device = Device(name="device", host="", target="")
        self._flip = flip

    def push(
        self,
        local: Path,
        remote: str,
        *,
        resume: bool = False,
        basis: str | None = None,
        on_bytes: Callable[[int], None],
    ) -> int:
        part = Path(f"{remote}.part")
        content = local.read_bytes()
        offset = part.stat().st_size if resume and part.exists() else 0
        try:
            with part.open("r+b" if offset else "wb", buffering=0) as sink:
                sink.seek(offset)
                rest = self._flip(content[offset:])
                for start in range(0, len(rest), 1 << 15):
                    sink.write(rest[start : start + (1 << 15)])
                os.fsync(sink.fileno())
            part.rename(remote)
        except OSError as error:
            raise EdgewrightError(
                f"{local.name} could not be written", detail=str(error)
            ) from error
        on_bytes(len(rest))
        return len(rest)


def silent(do: str, answer: Any) -> None:
    """Tell nobody."""


def deploy(
    agent: Agent,
    root: Path,
    folder: Path,
    heard: Callable[[str, Any], None] = silent,
    *,
    keep: int = 1,
    flip: Callable[[bytes], bytes] = bytes,
) -> Outcome:
    """One deployment, the way release.deploy does it after the probe."""
    manifest = assemble.load(folder)
    process = _Process(agent, root, heard)
    session = Session("device", cast("RemoteProcess", process))
    link = cast("Connection", _Link(flip))
    try:
        planned = deployment._plan(session, link.device, manifest)
        return deployment._apply(
            link, session, folder, manifest, planned, keep=keep, say=lambda _: None
        )
    finally:
        process.close()


def rollback(agent: Agent, root: Path, heard: Callable[[str, Any], None] = silent) -> str:
    """One rollback; returns the folder that runs then."""
    process = _Process(agent, root, heard)
    session = Session("device", cast("RemoteProcess", process))
    try:
        session.lock("test")
        return session.rollback().folder
    finally:
        process.close()


def take_lock(agent: Agent, root: Path) -> None:
    """What every deployment begins with: it undoes a switch that was not confirmed."""
    process = _Process(agent, root, silent)
    try:
        Session("device", cast("RemoteProcess", process)).lock("test")
    finally:
        process.close()


def copy(template: Path, root: Path) -> None:
    """Make root a copy of template, hard links kept."""
    shutil.rmtree(root, ignore_errors=True)
    if template.exists():
        subprocess.run(["cp", "-a", template, root], check=True)


def running(root: Path) -> str | None:
    """The id of the release that runs, None when there is none.

    An unconfirmed switch counts as undone: the next one to take the lock undoes it.
    """
    pending = State(str(root)).pending()
    if pending is not None and pending["back"] is None:
        return None
    link = root / "releases" / pending["back"] if pending is not None else root / "current"
    try:
        text = (link / "manifest.json").read_text()
    except FileNotFoundError:
        assert not (root / "current").is_symlink(), "current leads nowhere"
        return None
    return str(json.loads(text)["release"])


@functools.cache
def identity(folder: Path) -> str:
    """The id of a bundle. Read once: no test changes a bundle of another folder's name."""
    return assemble.load(folder).release


@functools.cache
def contents(folder: Path) -> dict[str, str]:
    """The sha256 of every file that a release of that bundle has, its wheels unpacked."""
    found = {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }
    for wheel in folder.glob("wheels/*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                found[f"venv/site-packages/{name}"] = archive.read(name)
    return {name: hashlib.sha256(content).hexdigest() for name, content in found.items()}


def problems(root: Path, bundles: list[Path], allowed: list[Path | None]) -> list[str]:
    """What is wrong on a device: it must run one of `allowed`, and all complete ones be whole."""
    ids = {identity(b): b for b in bundles}
    try:
        runs = running(root)
    except (AssertionError, OSError, ValueError, KeyError) as error:
        return [f"current: {error}"]
    wrong = []
    if runs not in {identity(a) if a else None for a in allowed}:
        wrong.append(f"runs {runs and runs[:16]}")
    state = State(str(root))
    folders = {str(e["folder"]) for e in state.releases()}
    for link in ("current", "previous"):
        named = state.linked(link)
        if named is None and (root / link).is_symlink():
            wrong.append(f"{link} is no link to a release")
        folders |= {named} if named else set()
    for folder in sorted(folders):
        base = root / "releases" / folder
        try:
            found = str(json.loads((base / "manifest.json").read_text())["release"])
            bad = _differences(base, ids[found]) + ([] if state.whole(folder) else ["not whole"])
        except (OSError, ValueError, KeyError) as error:
            bad = [repr(error)]
        wrong += [f"{folder}: {b}" for b in bad]
    return wrong


def _differences(base: Path, source: Path) -> list[str]:
    """Every file of a release against the bundle and the wheels that it comes from."""
    there = {
        p.relative_to(base).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in base.rglob("*")
        if p.is_file() and not p.is_symlink()
    }
    there.pop("installed.json", None)
    if not (base / "venv" / "bin" / "python").is_symlink():
        return ["no venv/bin/python"]
    wanted = contents(source)
    return [n for n in sorted({*there, *wanted}) if there.get(n) != wanted.get(n)]


def debris(root: Path) -> list[str]:
    """What a finished deployment must not leave behind."""
    state = State(str(root))
    left = [f"incoming/{n.name}" for n in (root / "incoming").iterdir()]
    left += [n for n in ("pending", "returning") if (root / n).exists()]
    left += [f"releases/{n}" for n in state.folders() if state.marker(n) is None]
    used = {f["sha256"] for n in state.folders() for f in state.manifest(n)["files"]}
    return left + [f"blobs/{b.name}" for b in (root / "blobs").iterdir() if b.name not in used]
