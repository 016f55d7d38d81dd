"""Talks to the agent: the one program on the device through which a deployment changes anything.

The agent's source goes over the link and runs from memory, so the device always has the version
that this machine has. It holds the device's lock while it lives and ends when the link does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from deploy.inventory.program import START_LIMIT, Program
from deploy.release.agent_answers import (
    Folder,
    Hello,
    Inspection,
    LaidOut,
    Preparation,
    Reply,
    SelfCheck,
    SwitchedBack,
    Undone,
)
from deploy.ssh.remote_process import RemoteProcess
from toolchain.bundle.assemble import File
from toolchain.core.errors import ConnectionFailed, DeviceRefused, ReleaseError
from toolchain.core.signing import Seal

T = TypeVar("T")

AGENT = Path(__file__).parents[1] / "agent"
MODULES = (
    "files",
    "ownership",
    "facts",
    "ed25519",
    "trust",
    "state",
    "service",
    "commit_confirmed",
    "installation",
    "steps",
    "service_steps",
    "main",
)
# what the agent shares with the runner, from the runner's package
RUNNER = Path(__file__).parents[1] / "runner" / "edgewright_runner"
SHARED = ("emulation",)
# a deployer that vanished without a word keeps the lock for so long
IDLE = 180.0
PING_EVERY = 60.0
# seconds to wait for the answer: to most steps, to the first, to one that reads all files there
LIMIT, BOOT_LIMIT, VERIFY_LIMIT = 120.0, 60.0, 600.0
# seconds that pip and the self-check may take there, and that their answer may take beyond that
INSTALL_LIMIT, SPARE = 900.0, 30.0
IMPORT_LIMIT = 120.0

# Not isolated (-I): the wheels will find what this Python finds, the user's own site among it. But
# a file in the folder where a login begins, or in one of PYTHONPATH, which -E passes over, is no
# module of the standard library's.
BOOT = """
import sys
sys.path[:] = filter(None, sys.path)
import json
from importlib.machinery import ModuleSpec
class Sent:
    def find_spec(name, path=None, target=None):
        return ModuleSpec(name, Sent, is_package=not sources[name]) if name in sources else None
    def create_module(spec):
        return None
    def exec_module(module):
        exec(compile(sources[module.__name__], module.__name__, "exec"), module.__dict__)
stream = sys.stdin.buffer
sources = json.loads(stream.read(int(stream.readline())))
sys.meta_path.insert(0, Sent)
from deploy.agent.main import main
main()
"""


class Session:
    """A running agent. Each step of a deployment is a method, and its answer a value of its type.

    Every method may raise:
        DeviceRefused: someone else deploys to it, or it does not trust the release.
        ReleaseError: the device could not do it, or its answer is none.
        ConnectionFailed: the link dropped, or no answer came in time.

    Attributes:
        name: the device's.
        root: our folder on the device, absolute.
    """

    def __init__(self, name: str, process: RemoteProcess) -> None:
        self.name = name
        self.root = ""
        self._process = process
        self._asked = time.monotonic()

    def begin(self) -> None:
        """Send the agent its source, and hear its first words."""
        self._process.write(sources())
        self.root = self._answer(Hello, BOOT_LIMIT).root

    def look(self, modules: Sequence[str]) -> dict[str, Any]:
        """What the device is, as `deploy.release.preflight` reads it, and has of these modules."""
        return self._ask("look", dict[str, Any], modules=list(modules))

    def imports(self, modules: Sequence[str]) -> dict[str, str]:
        """Why modules can't be imported there, by name, of those that can't."""
        limit = len(modules) * IMPORT_LIMIT
        return self._ask(
            "imports", dict[str, str], limit + SPARE, modules=list(modules), seconds=IMPORT_LIMIT
        )

    def inspect(self, release: str = "", files: Sequence[File] = ()) -> Inspection:
        """What is below our folder; whether it has that release, and which of these files."""
        asked = _listed(files)
        return self._ask("inspect", Inspection, VERIFY_LIMIT, release=release, files=asked)

    def lock(self, who: str) -> None:
        """Keep every other deployer out; undo a switch that nobody confirmed."""
        self._tell("lock", who=who)

    def authorize(self, release: str, seal: Seal | None) -> None:
        """Have a release let in, by its seal where the device has keys."""
        self._tell("authorize", release=release, seal=seal.model_dump() if seal else None)

    def trust(self, key: str) -> bool:
        """Give it a public key; False when it had that."""
        return self._ask("trust", bool, key=key)

    def distrust(self, key: str) -> None:
        """Have it take no more releases that this key signed."""
        self._tell("distrust", key=key)

    def remove(self, folder: str, *, previous: bool) -> None:
        """Remove a release; the one that ran before only when `previous` says so."""
        self._tell("remove", VERIFY_LIMIT, folder=folder, previous=previous)

    def prepare(self, files: Sequence[File]) -> Preparation:
        """Clear what a cut-off deployment left; ask what of these has to be sent."""
        return self._ask("prepare", Preparation, VERIFY_LIMIT, files=_listed(files))

    def take(self, sha256: str) -> bool:
        """Have a sent file verified and kept; False when its bytes are wrong."""
        return self._ask("take", bool, VERIFY_LIMIT, sha256=sha256)

    def assemble(self, manifest: str) -> str:
        """Lay a release out, by its manifest's text; returns its folder's name."""
        return self._ask("assemble", LaidOut, VERIFY_LIMIT, manifest=manifest).root

    def install(self, folder: str) -> None:
        """Install a release's wheels into its venv."""
        self._tell("install", INSTALL_LIMIT + SPARE, folder=folder, seconds=INSTALL_LIMIT)

    def check(self, folder: str, program: str, artifacts: Sequence[tuple[str, str]]) -> SelfCheck:
        """Run the self-check in a release.

        Args:
            folder: the release's.
            program: the self-check's source.
            artifacts: each runtime's label and a file that it has to load, below the release.
        """
        return self._ask(
            "check",
            SelfCheck,
            INSTALL_LIMIT + SPARE,
            folder=folder,
            program=program,
            arguments=[f"{runtime}={path}" for runtime, path in artifacts],
            seconds=INSTALL_LIMIT,
        )

    def finish(self, folder: str) -> None:
        """Mark a release complete, on the disk."""
        self._tell("finish", VERIFY_LIMIT, folder=folder)

    def abandon(self) -> None:
        """Remove what was laid out and is not complete."""
        self._tell("abandon")

    def switch(self, folder: str, *, confirm_within: float) -> bool:
        """Run another release, for good only with `confirm` in so many seconds; False: it runs."""
        return self._ask("switch", bool, folder=folder, seconds=confirm_within)

    def confirm(self) -> None:
        """Let the switch hold."""
        self._tell("confirm")

    def attend(self, program: Program) -> str:
        """Tell it the program that lives with its releases; why that can't be, or nothing."""
        return self._ask("attend", str, program=program.plain())

    def runs(self) -> bool:
        """Whether that program runs."""
        return self._ask("runs", bool)

    def restart(self, program: Program) -> None:
        """Restart it with the release that is current now, and wait until it is well."""
        self._tell("restart", program.longest() + SPARE)

    def undo(self) -> Undone:
        """Undo a switch that was not confirmed, now."""
        return self._ask("undo", Undone, START_LIMIT + SPARE)

    def rollback(self, to: str = "") -> SwitchedBack:
        """Run the release in that folder, or the one that ran before, laid out again if damaged."""
        limit = VERIFY_LIMIT + INSTALL_LIMIT + SPARE
        return self._ask("rollback", SwitchedBack, limit, seconds=INSTALL_LIMIT, to=to)

    def clean(self, keep: int) -> list[str]:
        """Remove the oldest releases beyond so many; returns their folders."""
        return self._ask("clean", list[Folder], VERIFY_LIMIT, keep=keep)

    def keep_awake(self) -> None:
        """Show the agent that we are here, when a long transfer goes by another channel."""
        if time.monotonic() - self._asked > PING_EVERY:
            self._tell("ping")

    def end(self) -> None:
        """Let the agent go in peace."""
        self._process.write(b'{"do": "bye"}\n')
        self._process.close_input()
        self._process.wait()

    def _tell(self, do: str, limit: float = LIMIT, **fields: object) -> None:
        self._ask(do, type(None), limit, **fields)

    def _ask(self, do: str, kind: type[T], limit: float = LIMIT, **fields: object) -> T:
        """One request: a step of `deploy.agent.steps`, what its answer must be, its arguments."""
        self._process.write(json.dumps({"do": do, **fields}).encode() + b"\n")
        self._asked = time.monotonic()
        return self._answer(kind, limit)

    def _answer(self, kind: type[T], limit: float) -> T:
        line = self._process.line(within=limit)
        if line is None:
            raise self._ended()
        try:
            reply = Reply.model_validate_json(line)
            if reply.failed is None:
                return TypeAdapter(kind).validate_python(reply.ok, strict=True)
        except ValidationError as error:
            raise ReleaseError(
                f"{self.name}: the device's answer can't be read",
                detail=f"{line[:500]}\n{error}",
            ) from error
        failed = reply.failed
        refused = failed.kind in ("locked", "untrusted")
        raise (DeviceRefused if refused else ReleaseError)(
            f"{self.name}: {failed.brief}", detail=failed.detail, resolution=failed.resolution
        )

    def _ended(self) -> ConnectionFailed:
        self._process.wait()
        return ConnectionFailed(
            f"{self.name}: the deployment's program on the device ended",
            detail=self._process.errors(),
            resolution="run the same command again; the device still runs what it ran before",
        )


def sources() -> bytes:
    """What `BOOT` reads first: how many bytes, then each module's source by its name."""
    modules = {f"deploy.agent.{name}": (AGENT / f"{name}.py").read_text() for name in MODULES}
    modules |= {f"edgewright_runner.{name}": (RUNNER / f"{name}.py").read_text() for name in SHARED}
    packages = dict.fromkeys(("deploy", "deploy.agent", "edgewright_runner"), "")
    text = json.dumps({**packages, **modules}).encode()
    return f"{len(text)}\n".encode() + text


def _listed(files: Sequence[File]) -> list[dict[str, object]]:
    return [{"sha256": file.sha256, "size": file.size} for file in files]
