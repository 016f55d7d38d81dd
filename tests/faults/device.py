"""A device of the tests: a folder, the agent's own steps on it, and faults put there by strace.

Everything but pip and the self-check is the product's: release's order of steps, the session, the
agent. Those two are replaced by an unpacked wheel, so that a round takes a fraction of a second.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import types
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from deploy import release
from deploy.agent.state import State
from deploy.connection import Connection
from deploy.release_plan import Outcome
from deploy.remote_process import RemoteProcess
from deploy.session import AGENT, MODULES, Session
from toolchain import bundle
from toolchain.errors import EdgewrightError

MUTATING = (
    "openat,open,creat,write,pwrite64,writev,ftruncate,truncate,fallocate,sendfile,copy_file_range,"
    "mkdir,mkdirat,rmdir,link,linkat,symlink,symlinkat,rename,renameat,renameat2,unlink,unlinkat,"
    "chmod,fchmod,fchmodat,chown,fchown,fchownat,utimensat,fsync,fdatasync,sync_file_range"
)
WRITES = re.compile(r"O_(CREAT|TRUNC|WRONLY|RDWR)")
CALL = re.compile(r"^(\w+)\((.*)$")
LIMIT = 60.0


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


def _look(steps: Any, folder: str, program: str, seconds: float) -> dict[str, Any]:
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
        self.device = types.SimpleNamespace(name="device")
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


Work = Callable[[Callable[[str, Any], None]], object]


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
    manifest = bundle.load(folder)
    process = _Process(agent, root, heard)
    session = Session("device", cast("RemoteProcess", process))
    link = cast("Connection", _Link(flip))
    try:
        planned = release._plan(session, "device", manifest)
        return release._apply(
            link, session, folder, manifest, planned, keep=keep, say=lambda _: None
        )
    finally:
        process.close()


def rollback(agent: Agent, root: Path, heard: Callable[[str, Any], None] = silent) -> str:
    """One rollback; returns the folder that runs then."""
    process = _Process(agent, root, heard)
    session = Session("device", cast("RemoteProcess", process))
    try:
        session.ask("lock", who="test")
        return str(session.ask("rollback")["to"])
    finally:
        process.close()


def take_lock(agent: Agent, root: Path) -> None:
    """What every deployment begins with: it undoes a switch that was not confirmed."""
    process = _Process(agent, root, silent)
    try:
        Session("device", cast("RemoteProcess", process)).ask("lock", who="test")
    finally:
        process.close()


@dataclass(frozen=True)
class Point:
    """The `nth` call of that name, from 1."""

    call: str
    nth: int

    def __str__(self) -> str:
        return f"{self.call} #{self.nth}"


@dataclass(frozen=True)
class Ended:
    """How a child ended: killed or not, the steps it was told are done, its error, its calls."""

    killed: bool
    done: list[str]
    error: str
    crash: str
    points: list[Point]
    hit: bool


def run(work: Work, inject: str = "", *, scratch: Path) -> Ended:
    """Do work in a child under strace, with a fault in it.

    Args:
        work: called with a function that takes each step and its answer.
        inject: what strace's `inject` option takes.
        scratch: a folder for strace's log; outside the device.
    """
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        _child(work, theirs)
    theirs.close()
    log = scratch / "strace.log"
    log.unlink(missing_ok=True)
    extra = ["-e", f"inject={inject}"] if inject else []
    calls = ",".join(f"?{name}" for name in MUTATING.split(","))
    tracer = subprocess.Popen(
        ["strace", "-q", "-s", "0", "-p", str(pid), "-o", str(log), "-e", f"trace={calls}", *extra],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    end = time.monotonic() + LIMIT
    while "TracerPid:\t0" in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < end, "strace could not attach"
        assert tracer.poll() is None, "strace could not attach"
        time.sleep(0.001)
    ours.send(b"go")
    heard = b""
    ours.settimeout(LIMIT)
    while piece := ours.recv(1 << 16):
        heard += piece
    ours.close()
    _, status = os.waitpid(pid, 0)
    tracer.wait(LIMIT)
    text = log.read_text(errors="replace")
    lines = [json.loads(line) for line in heard.splitlines()]
    return Ended(
        killed=os.WIFSIGNALED(status),
        done=[v for k, v in lines if k == "done"],
        error=next((v for k, v in lines if k == "error"), ""),
        crash=next((v for k, v in lines if k == "crash"), ""),
        points=_points(text),
        hit="INJECTED" in text or os.WIFSIGNALED(status),
    )


def _child(work: Work, link: socket.socket) -> None:
    def tell(kind: str, text: str) -> None:
        # by sendto, which is no call that faults are put at
        link.send(json.dumps([kind, text]).encode() + b"\n")

    try:
        link.recv(2)
        work(lambda do, answer: tell("done", do) if "ok" in answer else None)
    except EdgewrightError as error:
        tell("error", f"{error.brief}: {error.detail}")
    except BaseException as error:  # noqa: BLE001 (a child must not go on as a second pytest)
        tell("crash", f"{type(error).__name__}: {error}")
    finally:
        os._exit(0)


def _points(text: str) -> list[Point]:
    found, counts = [], Counter[str]()
    for line in text.splitlines():
        match = CALL.match(line)
        if match is None:
            continue
        counts[match[1]] += 1
        if match[1] not in ("openat", "open") or WRITES.search(match[2]):
            found.append(Point(match[1], counts[match[1]]))
    return found


def kill_at(point: Point) -> str:
    """The injection that kills before the call does anything."""
    return f"{point.call}:signal=KILL:when={point.nth}"


def fail_at(point: Point, name: str) -> str:
    """The injection that makes one call fail with that error."""
    return f"{point.call}:error={name}:when={point.nth}"


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


def identity(folder: Path) -> str:
    """The id of a bundle."""
    return bundle.load(folder).release


def problems(root: Path, bundles: list[Path], allowed: list[Path | None]) -> list[str]:
    """What is wrong on a device: it must run one of `allowed`, and all complete ones be whole."""
    ids = {bundle.load(b).release: b for b in bundles}
    try:
        runs = running(root)
    except (AssertionError, OSError, ValueError, KeyError) as error:
        return [f"current: {error}"]
    wrong = []
    if runs not in {bundle.load(a).release if a else None for a in allowed}:
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
    expected = {
        p.relative_to(source).as_posix(): p.read_bytes() for p in source.rglob("*") if p.is_file()
    }
    for wheel in source.glob("wheels/*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                expected[f"venv/site-packages/{name}"] = archive.read(name)
    there = {
        p.relative_to(base).as_posix(): p.read_bytes()
        for p in base.rglob("*")
        if p.is_file() and not p.is_symlink()
    }
    there.pop("installed.json", None)
    if not (base / "venv" / "bin" / "python").is_symlink():
        return ["no venv/bin/python"]
    digest = {n: hashlib.sha256(c).hexdigest() for n, c in there.items()}
    wanted = {n: hashlib.sha256(c).hexdigest() for n, c in expected.items()}
    return [n for n in sorted({*digest, *wanted}) if digest.get(n) != wanted.get(n)]


def debris(root: Path) -> list[str]:
    """What a finished deployment must not leave behind."""
    state = State(str(root))
    left = [f"incoming/{n.name}" for n in (root / "incoming").iterdir()]
    left += [n for n in ("pending", "returning") if (root / n).exists()]
    left += [f"releases/{n}" for n in state.folders() if state.marker(n) is None]
    used = {f["sha256"] for n in state.folders() for f in state.manifest(n)["files"]}
    return left + [f"blobs/{b.name}" for b in (root / "blobs").iterdir() if b.name not in used]


def end(pid: int) -> None:
    """Kill a child of ours and wait for it."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
