"""Tuning on devices: TVM's RPC servers started there over SSH, and the search that uses them.

A server listens on the device's 127.0.0.1 only and is reached through the SSH connection; who
connects must know a key that was made for this run. When the link is lost, it and the server are
opened again behind the same local port, for as long as the search waits.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deploy.inventory.reading import Device
from deploy.measure import exclusive_use
from deploy.measure.exclusive_use import exclusive
from deploy.ssh import connection
from deploy.ssh.port_forwarding import Forward
from deploy.ssh.remote_process import RemoteProcess
from toolchain import targets
from toolchain.compile import compilation as compiling
from toolchain.compile import cross_link
from toolchain.core.errors import ConnectionFailed, DeviceRefused, EdgewrightError, UsageError
from toolchain.core.store import Store
from toolchain.models.manifest import ModelManifest
from toolchain.targets import Target
from toolchain.tuning import run
from toolchain.tuning.budget import Budget
from toolchain.tuning.search_request import Address

PROGRAM = Path(__file__).parents[1] / "agent" / "programs" / "rpc_server.py"
LIFETIME_S = 24 * 3600.0
START_S = 120.0
# that a device whose link was lost is waited for
AWAY_S = 180.0
# The server ends when it hears nothing for IDLE_S; it hears something every BEAT_S.
IDLE_S, BEAT_S = 120.0, 10.0
RETRY_S = 5.0
# Longer than any session may take there.
STALL_S = 150.0

# how long a board that is shared is left alone: others look every few seconds whether it is free
PAUSE_S = 3 * exclusive_use.LOOK_S

Say = Callable[[str], None]


def tune(
    devices: Sequence[Device],
    folder: Path,
    variant: str,
    budget: Budget,
    say: Say,
    *,
    quiet: bool = False,
    turn_s: float = 0.0,
) -> run.Tuned:
    """Search on devices of one target for better tiles of a converted model's functions.

    Args:
        devices: what measures.
        folder: of the model.
        variant: of the network.
        budget: when it ends.
        say: called with each step.
        quiet: wait until nobody else works on a device, and until it has little else to do.
        turn_s: seconds after which a device is left to whoever waits for it, and then waited for;
            0 keeps it to the end.

    Raises:
        UsageError: devices of several targets, or emulated ones, whose times say nothing.
        DeviceRefused: someone else is at work on a device, or it has nothing deployed, or another
            TVM.
        ConnectionFailed: a device can't be reached at first, or none is left.
    """
    target = only_target(devices)
    version = compiling.release().version
    store, manifest = Store(), ModelManifest.load(folder)
    with ExitStack() as stack:
        reached = []
        for device in devices:
            say(f"starting TVM on {device.name}")
            key = secrets.token_hex(16)
            forward = stack.enter_context(
                served(device, key, version, say, quiet=quiet, turn_s=turn_s)
            )
            away = exclusive_use.PATIENCE_S if turn_s else AWAY_S
            reached.append(Address(name=device.name, port=forward.port, key=key, away_s=away))
        linker = stack.enter_context(cross_link.container_linker(target, store, say))
        return run.search(
            manifest,
            folder,
            variant,
            target=target.name,
            tvm=version,
            store=store,
            linker=linker,
            devices=reached,
            budget=budget,
            progress=say,
        )


def only_target(devices: Sequence[Device]) -> Target:
    """The target of devices that may measure together.

    Raises:
        UsageError: they are of several, or emulated.
    """
    names = sorted({device.target for device in devices})
    if len(names) > 1:
        raise UsageError(
            f"these devices are of several targets: {', '.join(names)}",
            resolution="tune the devices of one target at a time",
        )
    target = targets.target(names[0])
    for device in devices:
        if device.emulated and not target.native():
            raise UsageError(
                f"{device.name} is emulated: what is quick there says nothing about a board",
                resolution="tune on a board of this target",
            )
    return target


@contextmanager
def served(
    device: Device, key: str, version: str, say: Say, *, quiet: bool = False, turn_s: float = 0.0
) -> Iterator[Forward]:
    """A port that leads to TVM's RPC server on a device, there for as long as the block runs.

    Nobody else measures there or deploys to it meanwhile, but between two turns of so many seconds.

    Raises:
        DeviceRefused: someone else is at work there, nothing is deployed there, or another TVM.
        ConnectionFailed: it can't be reached.
    """
    with Forward(STALL_S) as forward:
        keeper = _Keeper(device, key, version, forward, say, quiet=quiet, turn_s=turn_s)
        keeper.open()
        keeper.thread.start()
        try:
            yield forward
        finally:
            keeper.over.set()
            keeper.thread.join()


class Answer(BaseModel):
    """What the server says once: where it listens and TVM's version, or why it could not begin."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    version: str = ""
    failed: str = ""

    @classmethod
    def read(cls, line: str) -> Answer:
        """The answer in a line; one that is none is why it could not begin."""
        try:
            return cls.model_validate_json(line)
        except ValidationError:
            return cls(failed=line)


class _Keeper:
    """Keeps a device's server up: opened again whenever it or the link is lost."""

    def __init__(
        self,
        device: Device,
        key: str,
        version: str,
        forward: Forward,
        say: Say,
        *,
        quiet: bool,
        turn_s: float,
    ) -> None:
        self.quiet, self.turn_s, self.until = quiet, turn_s, 0.0
        self.device, self.key, self.version = device, key, version
        self.forward, self.say = forward, say
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._keep, daemon=True)
        self._stack = ExitStack()
        self._process: RemoteProcess | None = None

    def open(self) -> None:
        """Connect and start the server; raises as `served`."""
        with ExitStack() as stack:
            conn = stack.enter_context(connection.connect(self.device))
            alone = exclusive(
                conn, "tune", self.say, quiet=self.quiet, wait=self.turn_s > 0, over=self.over
            )
            stack.enter_context(alone)
            # a device that was calm once is not waited for in the middle of a search, but where
            # others have had it in between
            self.quiet = self.quiet and self.turn_s > 0
            process = stack.enter_context(conn.start(command(self.device), limit=LIFETIME_S))
            port = self._ask(process)
            # a stream that is refused is an error now, not a mystery later
            conn.tunnel(port).close()
            self._stack, self._process = stack.pop_all(), process
            self.until = time.monotonic() + (self.turn_s or LIFETIME_S)
        self.forward.lead_to(lambda: conn.tunnel(port))

    def _ask(self, process: RemoteProcess) -> int:
        request = {"key": self.key, "idle": IDLE_S, "threads": 1}
        try:
            process.write(json.dumps(request).encode() + b"\n")
            line = process.line(within=START_S)
        except ConnectionFailed:
            line = None
        answer = Answer.read(line or "")
        if answer.port is None:
            raise self._refused(process, answer.failed)
        if answer.version != self.version:
            raise DeviceRefused(
                f"{self.device.name}: TVM {answer.version} is deployed there, not {self.version}",
                resolution="compile with --compiler release and deploy again",
            )
        return answer.port

    def _refused(self, process: RemoteProcess, said: str) -> EdgewrightError:
        if said or process.ended_with(127) or process.ended_with(126):
            return DeviceRefused(
                f"{self.device.name}: TVM's runtime is not deployed there",
                detail=said or process.errors(),
                resolution=f"compile and deploy a model first: invoke deploy --host "
                f"{self.device.name}",
            )
        return ConnectionFailed(
            f"{self.device.name}: TVM's RPC server did not start",
            detail=process.errors(),
            resolution="run the same command again",
        )

    def _keep(self) -> None:
        while not self.over.wait(BEAT_S if self._process is not None else RETRY_S):
            try:
                if self._process is None:
                    self.open()
                    self.say(f"{self.device.name} is back")
                elif time.monotonic() > self.until:
                    self.say(f"{self.device.name} is left to others")
                    self._close()
                    self.over.wait(PAUSE_S)
                else:
                    self._process.write(b"\n")
            except EdgewrightError as error:
                self.say(error.brief)
                self._close()
        self._close()

    def _close(self) -> None:
        """End the server in peace, so that it tidies up; over a dead link it does so by itself."""
        self.forward.lead_to(None)
        if self._process is not None:
            with suppress(EdgewrightError):
                self._process.close_input()
                self._process.ended_with(0)
        self._process = None
        with suppress(EdgewrightError):
            self._stack.close()


def command(device: Device) -> list[str]:
    """The server's command line on a device: the Python of what is deployed, our program."""
    root = device.root.removeprefix("~/")  # nothing expands it there; commands start at home
    return [f"{root}/current/venv/bin/python", "-I", "-u", "-c", PROGRAM.read_text()]
