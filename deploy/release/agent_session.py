"""Talks to the agent: the one program on the device through which a deployment changes anything.

The agent's source goes over the link and runs from memory, so the device always has the version
that this machine has. It holds the device's lock while it lives and ends when the link does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy.ssh.connection import Connection
from deploy.ssh.remote_process import RemoteProcess, python
from toolchain.core.errors import ConnectionFailed, DeviceRefused, ReleaseError

AGENT = Path(__file__).parents[1] / "agent"
MODULES = ("files", "facts", "ed25519", "trust", "state", "commit_confirmed", "steps", "main")
LIFETIME = 6 * 3600.0
# a deployer that vanished without a word keeps the lock for so long
IDLE = 180.0
PING_EVERY = 60.0

# Not isolated (-I): the wheels will find what this Python finds. But a file in the folder where a
# login begins is no module of the standard library's.
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
    """A running agent.

    Attributes:
        root: our folder on the device, absolute.
    """

    def __init__(self, name: str, process: RemoteProcess) -> None:
        self.name = name
        self.root = ""
        self._process = process
        self._asked = time.monotonic()

    def ask(self, do: str, *, limit: float = 120.0, **fields: object) -> Any:
        """One request; returns what its step returns.

        Args:
            do: the name of a step of `deploy.agent.steps`.
            limit: seconds to wait for the answer.
            fields: its arguments.

        Raises:
            DeviceRefused: someone else deploys to it, or it does not trust the release.
            ReleaseError: the device could not do it.
            ConnectionFailed: the link dropped, or no answer came in time.
        """
        self._process.write(json.dumps({"do": do, **fields}).encode() + b"\n")
        self._asked = time.monotonic()
        return self.answer(limit)

    def answer(self, limit: float) -> Any:
        """The next answer. Raises as `ask`."""
        line = self._process.line(within=limit)
        if line is None:
            self._process.wait()
            raise ConnectionFailed(
                f"{self.name}: the deployment's program on the device ended",
                detail=self._process.errors(),
                resolution="run the same command again; the device still runs what it ran before",
            )
        try:
            answer = json.loads(line)
            failed = answer.get("failed")
        except (ValueError, AttributeError) as error:
            raise ReleaseError(
                f"{self.name}: the device's answer can't be read", detail=line[:500]
            ) from error
        if failed is not None:
            refused = failed["kind"] in ("locked", "untrusted")
            raise (DeviceRefused if refused else ReleaseError)(
                f"{self.name}: {failed['brief']}",
                detail=failed["detail"],
                resolution=failed["resolution"],
            )
        return answer["ok"]

    def keep_awake(self) -> None:
        """Show the agent that we are here, when a long transfer goes by another channel."""
        if time.monotonic() - self._asked > PING_EVERY:
            self.ask("ping")

    def end(self) -> None:
        """Let the agent go in peace."""
        self._process.write(b'{"do": "bye"}\n')
        self._process.close_input()
        self._process.wait()


@contextmanager
def open_session(conn: Connection) -> Iterator[Session]:
    """Start the agent; it ends with the block.

    Raises:
        DeviceRefused: the device has no Python 3, or one that does not run the agent.
        ConnectionFailed: the link dropped.
    """
    device = conn.device
    command = python(device.python, "-u", "-c", BOOT, device.root, str(IDLE))
    with conn.start(command, limit=LIFETIME) as process:
        session = Session(device.name, process)
        try:
            process.write(sources())
            session.root = session.answer(60.0)["root"]
        except ConnectionFailed as error:
            if process.ended_with(127):
                raise DeviceRefused(
                    f"{device.name}: the device has no Python 3",
                    resolution="there: apt-get install python3 python3-numpy",
                ) from error
            if process.ended():
                raise DeviceRefused(
                    f"{device.name}: its Python does not run our program",
                    detail=process.errors(),
                    resolution="log in there and see whether python3 runs; it must be 3.8 or newer",
                ) from error
            raise
        yield session
        session.end()


def sources() -> bytes:
    """What `BOOT` reads first: how many bytes, then each module's source by its name."""
    found = {f"deploy.agent.{name}": (AGENT / f"{name}.py").read_text() for name in MODULES}
    text = json.dumps({"deploy": "", "deploy.agent": "", **found}).encode()
    return f"{len(text)}\n".encode() + text
