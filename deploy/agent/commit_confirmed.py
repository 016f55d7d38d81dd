"""Runs on the device: a commit-confirmed switch, with automatic rollback when nobody confirms it.

    pending      what to go back to; there from before the switch until the switch is confirmed
    returning    the same file, once going back has begun

A child of the agent waits with the lock in its hand. It goes back when the time is up, or as soon
as the agent is gone, since only the agent could have brought the confirmation. Should the child be
gone too (a power cut), whoever next takes the lock goes back first. One rename or one removal of
`pending` decides between the two, so a switch is never both confirmed and undone.

Python's standard library only, 3.8 or newer.
"""

from __future__ import annotations

import json
import os
import select
import signal
from contextlib import suppress

from deploy.agent.files import PENDING, RETURNING, Failure, fsync_path, point, write_durably
from deploy.agent.service import restart
from deploy.agent.state import State

CONFIRMED = b"c"
READY = b"r"


class Watch:
    """The child that waits. It is there, and alone, before anything is switched.

    Args:
        state: the device, its lock held.
        seconds: how long a confirmation may take.

    Raises:
        Failure: it could not be started.
    """

    def __init__(self, state: State, seconds: float) -> None:
        ear, self.mouth = os.pipe()
        ready, told = os.pipe()
        agent = os.getpid()
        self.child = os.fork()
        if self.child == 0:
            try:
                _alone({ear, told, state.lock_file})
                os.write(told, READY)
                os.close(told)
                _wait(state, ear, agent, seconds)
            finally:
                os._exit(0)
        os.close(ear)
        os.close(told)
        # until then what kills the agent's group kills the child too, and nobody goes back
        answer = os.read(ready, 1)
        os.close(ready)
        if answer != READY:
            self.end()
            raise Failure("failed", "the device could not start what undoes an unconfirmed switch")

    def end(self) -> None:
        """Let it go: the switch was confirmed, or undone."""
        self._say(CONFIRMED)

    def undo(self) -> None:
        """Have it go back now, and wait until it has."""
        self._say(b"b")

    def _say(self, word: bytes) -> None:
        with suppress(BrokenPipeError):
            os.write(self.mouth, word)
        os.close(self.mouth)
        os.waitpid(self.child, 0)


def note_return(state: State) -> None:
    """Write down, on the disk, what to go back to."""
    back = {
        "back": state.linked("current"),
        "previous": state.linked("previous"),
        "program": state.program,
    }
    write_durably(state.path(PENDING), json.dumps(back))


def confirm_switch(state: State) -> bool:
    """Let the switch hold, on the disk; False when it was undone before."""
    try:
        os.unlink(state.path(PENDING))
    except FileNotFoundError:
        return False
    fsync_path(state.root)
    return True


def go_back(state: State) -> None:
    """Undo a switch that was not confirmed. Cut off, it is done again by the next one."""
    noted = state.pending()
    if noted is None:
        return
    pairs = (("current", noted["back"]), ("previous", noted["previous"]))
    # one that is gone or incomplete is no place to go back to
    if noted["back"] is None or state.marker(noted["back"]) is not None:
        for name, folder in pairs:
            if folder is not None:
                point(state.root, name, folder)
            elif os.path.lexists(state.path(name)):
                os.unlink(state.path(name))
                fsync_path(state.root)
    program = state.pending_program()
    if program is not None:
        # one that does not start is no reason to go anywhere else
        with suppress(Failure, OSError, ValueError, KeyError, TypeError):
            restart(state.root, program)
    for name in (PENDING, RETURNING):
        if os.path.lexists(state.path(name)):
            os.unlink(state.path(name))
    fsync_path(state.root)


def _alone(kept: set[int]) -> None:
    """Let nothing of the agent's hold this process, nor it anything of the agent's."""
    os.setsid()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    for descriptor in [int(name) for name in os.listdir("/proc/self/fd")]:
        if descriptor not in kept:
            with suppress(OSError):
                os.close(descriptor)
    for _ in range(3):
        if os.open(os.devnull, os.O_RDWR) > 2:
            break


def _wait(state: State, ear: int, agent: int, seconds: float) -> None:
    heard, _, _ = select.select([ear], [], [], seconds)
    if heard and os.read(ear, 1) == CONFIRMED:
        return
    try:
        os.rename(state.path(PENDING), state.path(RETURNING))
    except FileNotFoundError:
        return
    go_back(state)
    if not heard and os.getppid() == agent:
        # its link seems to live and is dead: it would keep the lock for nobody
        os.kill(agent, signal.SIGKILL)
