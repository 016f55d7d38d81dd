"""Opens a session with a device's agent: that in Python, or that in sh where there is no Python."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from deploy.inventory.schema import NO_PYTHON
from deploy.release.agent_session import BOOT, IDLE, Session
from deploy.release.shell import agent
from deploy.release.shell.session import ShellSession
from deploy.ssh.connection import Connection
from deploy.ssh.remote_process import python
from toolchain.core.errors import ConnectionFailed, DeviceRefused

ANY = "3"  # what an inventory that says nothing means
LIFETIME = 6 * 3600.0


@contextmanager
def open_session(conn: Connection) -> Iterator[Session]:
    """Start the agent; it ends with the block.

    Which one is asked of the device, but where the inventory says that it has no Python, or names
    one by its version.

    Raises:
        DeviceRefused: the device lacks that Python, or has one that does not run the agent.
        ConnectionFailed: the link dropped.
    """
    device = conn.device
    if not conn.without_python:
        command = python(device.python, "-E", "-u", "-c", BOOT, device.root, str(IDLE))
        with conn.start(command, limit=LIFETIME) as process:
            session = Session(device.name, process)
            try:
                session.begin()
            except ConnectionFailed as error:
                if not process.ended_with(127):
                    if process.ended():
                        raise DeviceRefused(
                            f"{device.name}: its Python does not run our program",
                            detail=process.errors(),
                            resolution="log in there and see whether python3 runs; it must be 3.8 "
                            "or newer",
                        ) from error
                    raise
                if device.python != ANY:
                    raise DeviceRefused(
                        f"{device.name}: the device has no python{device.python}",
                        resolution="install it there, or correct edgewright.python of its "
                        f"inventory entry; {NO_PYTHON} if it has none",
                    ) from error
                conn.without_python = True
            else:
                yield session
                session.end()
                return
    with conn.start(agent.command(device), limit=LIFETIME) as process:
        own = ShellSession(device.name, process)
        own.begin()
        yield own
        own.end()
