"""A device for one measurement alone: the lock that deployments hold too, and a wait for calm.

The lock is the agent's, so versions that know nothing of measurements are kept out as well. It goes
when the link goes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

from deploy.release import deployment
from deploy.release.agent_session import Session
from deploy.release.shell.sessions import open_session
from deploy.ssh.connection import Connection
from toolchain.core.errors import DeviceRefused, EdgewrightError

# how long `--quiet-device` waits, and how often it looks
PATIENCE_S, LOOK_S = 3600.0, 5.0
# CPUs in use, all together, up to which a device is calm: its own services, and this connection
CALM_CPUS = 0.2
IDLE = (3, 4)  # columns of /proc/stat's first line, proc_stat(5): idle, iowait

Say = Callable[[str], None]


class Commands(Protocol):
    """The part of `deploy.ssh.connection.Connection` that the wait for calm uses."""

    def run(self, args: Sequence[str]) -> str:
        """Run a command on the device and return its standard output."""
        ...


@contextmanager
def exclusive(
    conn: Connection,
    what: str,
    say: Say,
    *,
    quiet: bool,
    wait: bool = False,
    over: threading.Event | None = None,
) -> Iterator[None]:
    """Keep deployments and other measurements off a device for as long as the block runs.

    Args:
        conn: an open connection.
        what: is done there, for those who are kept out.
        say: told what is waited for.
        quiet: wait until nobody holds the device and it has little else to do.
        wait: wait until nobody holds the device.
        over: set by another thread when nothing is to be waited for any more.

    Raises:
        DeviceRefused: it has no Python, someone else is at work there, or it did not become calm.
        ConnectionFailed: the link dropped.
    """
    patience = _Patience(conn.device.name, say, over or threading.Event())
    with open_session(conn) as session:
        if conn.without_python:
            raise DeviceRefused(
                f"{conn.device.name}: the device has no Python, and {what} needs one there",
                resolution="there: apt-get install python3 python3-numpy; then deploy again",
            )
        _lock(session, f"{what} by {deployment.whoami()}", patience if quiet or wait else None)
        with _kept_awake(session):
            while quiet and (busy := cpus_in_use(conn, over=LOOK_S)) > CALM_CPUS:
                patience.wait(f"{busy:.1f} of its CPUs are in use")
            yield


@contextmanager
def _kept_awake(session: Session) -> Iterator[None]:
    """Let the agent, which gives up whoever falls silent, hear of us for as long as the block runs.

    Nothing else may use the session there.
    """
    over = threading.Event()

    def beat() -> None:
        # over a lost link the work itself finds out
        with suppress(EdgewrightError):
            while not over.wait(LOOK_S):
                session.keep_awake()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(LOOK_S)


def cpus_in_use(conn: Commands, *, over: float) -> float:
    """How many CPUs of a device are in use, on average over so many seconds."""
    first = _times(conn.run(["cat", "/proc/stat"]))
    time.sleep(over)
    second = _times(conn.run(["cat", "/proc/stat"]))
    (busy, whole, cpus), (busy_then, whole_then, _) = second, first
    return cpus * (busy - busy_then) / max(1, whole - whole_then)


def _times(stat: str) -> tuple[int, int, int]:
    """Of /proc/stat: time in use, all time, and how many CPUs that is of; 0 where it says none."""
    lines = [line.split() for line in stat.splitlines() if line.startswith("cpu")]
    # guest time, the last two columns, is counted in the first two already
    columns = [int(n) for n in lines[0][1:9] if n.isdecimal()] if lines else []
    idle = sum(columns[column] for column in IDLE if column < len(columns))
    return sum(columns) - idle, sum(columns), len(lines) - 1


class _Patience:
    """How long a device is waited for.

    Args:
        name: of the device.
        say: told what is waited for.
        over: ends the wait.
    """

    def __init__(self, name: str, say: Say, over: threading.Event) -> None:
        self._name, self._say, self._over = name, say, over
        self._until = time.monotonic() + PATIENCE_S

    def wait(self, why: str) -> None:
        """Wait a little.

        Raises:
            DeviceRefused: it took too long, or nobody needs the device any more.
        """
        if time.monotonic() > self._until:
            raise DeviceRefused(
                f"{self._name}: it did not become quiet in {PATIENCE_S / 60:.0f} minutes",
                detail=why,
                resolution="end what else runs there, or run the same command later",
            )
        self._say(f"waiting: {why}")
        if self._over.wait(LOOK_S):
            raise DeviceRefused(f"{self._name}: it is not waited for any more", detail=why)


def _lock(session: Session, who: str, patience: _Patience | None) -> None:
    """Lock a device, which is waited for where there is patience.

    Raises:
        DeviceRefused: someone else is at work there.
    """
    while True:
        while patience and (holder := session.inspect().holder) is not None:
            patience.wait(f"{holder} holds the device")
        try:
            session.lock(who)
        except DeviceRefused:
            # another one who waited may have been quicker
            if patience is None or session.inspect().holder is None:
                raise
            continue
        return
