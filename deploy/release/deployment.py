"""Puts a bundle on a device: plan, send what is missing, verify, install, check, switch.

A plan is plain data; `deploy` makes one and does what it says. Whatever interrupts it, the device
goes on running the release that it ran before, and the next deployment clears up and succeeds. The
steps on the device are `deploy.agent`'s.
"""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from deploy.inventory.program import Program
from deploy.inventory.reading import Device
from deploy.release import preflight, wheel_compatibility
from deploy.release.agent_answers import SelfCheck
from deploy.release.agent_session import AGENT, Session
from deploy.release.plan import Installed, Outcome, Plan, RolledBack, make_plan
from deploy.release.probed_facts import DeviceFacts
from deploy.release.shell.sessions import open_session
from deploy.ssh.connection import Connection
from toolchain.bundle import assemble, placement
from toolchain.bundle.assemble import Manifest
from toolchain.core import signing
from toolchain.core.errors import (
    ConnectionFailed,
    DeviceRefused,
    EdgewrightError,
    OutcomeUnknown,
    ReleaseError,
    UsageError,
)

KEEP, TRIES, CONFIRM_WITHIN = 3, 2, 60.0

Say = Callable[[str], None]


def plan(conn: Connection, folder: Path) -> Plan:
    """What a deployment of this bundle would do; changes nothing on the device.

    Args:
        conn: an open connection.
        folder: the bundle.

    Raises:
        DeviceRefused: the device can't run it.
        ConnectionFailed: the link dropped.
    """
    with open_session(conn) as session:
        facts, folder = preflight.met(session, conn.device, folder)
        return _checked_plan(conn, session, facts, folder, assemble.load(folder))


def deploy(
    conn: Connection, folder: Path, *, keep: int = KEEP, say: Say = lambda _: None
) -> Outcome:
    """Probe a device, refuse it or bring it to a bundle's release.

    Args:
        conn: an open connection.
        folder: the bundle.
        keep: releases that stay there, the running and the previous one always among them.
        say: told what happens, for the reader.

    Raises:
        DeviceRefused: the device can't run it, does not trust it, or another deployment or a
            measurement is under way; nothing was written.
        ReleaseError: a step failed; the old release still runs.
        OutcomeUnknown: the link dropped while it switched.
        ConnectionFailed: the link dropped; the old release still runs.
    """
    say("looking at the device")
    with open_session(conn) as session:
        facts, folder = preflight.met(session, conn.device, folder)
        manifest = assemble.load(folder)
        planned = _checked_plan(conn, session, facts, folder, manifest)
        program = conn.device.program
        if planned.action == "unchanged" and program and not session.runs():
            say("starting its program")
            session.lock(whoami())
            session.restart(program)
        return _apply(conn, session, folder, manifest, planned, keep=keep, say=say)


def releases(conn: Connection) -> list[Installed]:
    """The complete releases on a device, oldest first.

    Raises:
        DeviceRefused: its Python does not run our program.
        ConnectionFailed: the link dropped.
    """
    with open_session(conn) as session:
        state = session.inspect()
    return [
        Installed(
            **release.model_dump(),
            running=release.folder == state.current,
            previous=release.folder == state.previous,
        )
        for release in state.releases
    ]


def running_in(conn: Connection, release: str, *, wait: float = 0.0) -> str | None:
    """The folder in which a device runs that release, when nothing is about to undo it.

    Args:
        conn: an open connection.
        release: its id.
        wait: seconds that a switch still unconfirmed there may take to be undone.

    Raises:
        OutcomeUnknown: it was still unconfirmed after that.
        ConnectionFailed: the link dropped.
    """
    until = time.monotonic() + wait
    with open_session(conn) as session:
        while True:
            state = session.inspect(release)
            if state.pending is None:
                return state.intact if state.intact == state.current else None
            if time.monotonic() > until:
                raise OutcomeUnknown(f"{conn.device.name}: its switch is still unconfirmed")
            if state.holder is None:
                # nobody waits there any more: whoever takes the lock goes back
                session.lock(whoami())
            time.sleep(1)


def trust(conn: Connection, key: str) -> bool:
    """Give a device a public key, after which it takes signed releases only.

    Args:
        conn: an open connection.
        key: `ssh-ed25519 …`.

    Returns:
        False when the device trusted it already.

    Raises:
        DeviceRefused: another deployment or a measurement is under way.
        ReleaseError: the device could not keep it.
        ConnectionFailed: the link dropped.
    """
    with open_session(conn) as session:
        session.lock(whoami())
        return session.trust(key)


def rollback(conn: Connection, to: str = "") -> RolledBack:
    """Switch a device back to the release that it ran before.

    Args:
        conn: an open connection.
        to: the release to go to instead: its folder's name there, or how its id begins.

    Raises:
        UsageError: the device has no such release, or several.
        DeviceRefused: another deployment or a measurement is under way.
        ReleaseError: there is none, or it is damaged.
        OutcomeUnknown: the link dropped while it switched.
        ConnectionFailed: the link dropped.
    """
    program = conn.device.program
    with open_session(conn) as session:
        _attend(session, program)
        session.lock(whoami())
        try:
            switched = session.rollback(folder_of(session, to) if to else "")
            if program:
                session.restart(program)
        except ConnectionFailed as error:
            raise OutcomeUnknown(
                f"{session.name}: the connection was lost while it switched back",
                detail=f"{error.brief} ({error.detail})",
                resolution=f"see: invoke releases --host {session.name}",
            ) from error
    return RolledBack(host=conn.device.name, **switched.model_dump())


def _plan(session: Session, device: Device, manifest: Manifest) -> Plan:
    state = session.inspect(manifest.release, manifest.files)
    return make_plan(device.name, state, manifest, device.program)


def folder_of(session: Session, named: str) -> str:
    """The folder of the one complete release that is named so."""
    there = session.inspect().releases
    found = [r.folder for r in there if r.folder == named]
    found = found or [r.folder for r in there if r.release.startswith(named)]
    if len(found) != 1:
        raise UsageError(
            f"{session.name} has {'several releases' if found else 'no release'} {named}",
            detail=f"it has: {', '.join(r.folder for r in there) or 'none'}",
            resolution=f"see: invoke releases --host {session.name}",
        )
    return found[0]


def _attend(session: Session, program: Program) -> None:
    """Tell the device which program lives with its releases.

    Raises:
        DeviceRefused: that program can't be run there.
    """
    problem = session.attend(program) if program else ""
    if problem:
        raise DeviceRefused(
            f"{session.name}: {problem}",
            resolution="put it there, or correct edgewright.service and edgewright.health of its "
            "inventory entry",
        )


def _checked_plan(
    conn: Connection, session: Session, facts: DeviceFacts, folder: Path, manifest: Manifest
) -> Plan:
    """A plan for a device that can run the bundle.

    Raises:
        DeviceRefused: it can't.
    """
    planned = _plan(session, conn.device, manifest)
    if planned.action == "install":
        contents = wheel_compatibility.contents(folder, manifest.release)
        modules = [name for name in manifest.requires.modules if facts.modules.get(name)]
        broken = session.imports(modules)
        preflight.check(facts, manifest, contents=contents, broken=broken)
    else:
        preflight.check(facts, manifest, needed=0)
    _attend(session, conn.device.program)
    return planned


def _apply(
    conn: Connection,
    session: Session,
    folder: Path,
    manifest: Manifest,
    planned: Plan,
    *,
    keep: int,
    say: Say,
) -> Outcome:
    started = time.monotonic()
    sent, removed = 0, []
    checked = SelfCheck(imported=[], models=0)
    installed, replaced = planned.folder, planned.replaces
    if planned.action != "unchanged":
        session.lock(whoami())
        seal = signing.not_before(signing.load(folder), session.inspect().accepted)
        session.authorize(manifest.release, seal)
        # Someone else may have deployed between the plan and the lock.
        now = _plan(session, conn.device, manifest)
        installed, replaced = now.folder, now.replaces
        try:
            if installed is None:
                sent = _send(conn, session, folder, manifest, now.replaces, say)
                installed = _install(session, folder, manifest, say)
            say("checking that it works there" if manifest.wheels else "comparing every file")
            program = (AGENT / "programs" / "selfcheck.py").read_text()
            checked = session.check(installed, program, assemble.artifacts(folder, manifest))
            if now.folder is None:
                session.finish(installed)
        except EdgewrightError:
            with suppress(EdgewrightError):
                session.abandon()
            raise
        say("switching")
        _switch(session, installed, conn.device.program)
        try:
            removed = session.clean(keep)
        except ReleaseError as error:
            # The new release runs and is on disk; the next deployment clears up what is left.
            say(f"old releases could not be removed: {error.brief} ({error.detail})")
    assert installed is not None
    return Outcome(
        host=planned.host,
        status="unchanged" if planned.action == "unchanged" else "done",
        release=manifest.release,
        folder=installed,
        replaced=replaced,
        sent=sent,
        removed=removed,
        imported=checked.imported,
        models_loaded=checked.models,
        seconds=round(time.monotonic() - started, 3),
    )


def _send(
    conn: Connection,
    session: Session,
    folder: Path,
    manifest: Manifest,
    running: str | None,
    say: Say,
) -> int:
    """Send what is missing and have each file verified there; return the bytes sent.

    The file of the same path in the running release may have much in common with a new one.
    """
    preparation = session.prepare(manifest.files)
    paths = {f.sha256: f.path for f in manifest.files}
    if any(missing.sha256 not in paths for missing in preparation.missing):
        raise ReleaseError(f"{session.name}: the device asks for a file that is not the bundle's")
    whole = sum(missing.size - missing.offset for missing in preparation.missing)
    sent = 0

    def count(size: int) -> None:
        nonlocal sent
        sent += size
        say(f"sending: {sent / 1e6:.1f} of {whole / 1e6:.1f} MB")
        session.keep_awake()

    for digest in (missing.sha256 for missing in preparation.missing):
        local, remote = folder / paths[digest], f"{preparation.incoming}/{digest}"
        earlier = f"{session.root}/releases/{running}/{paths[digest]}" if running else None
        for attempt in range(TRIES):
            # What an interrupted try left is only trusted once; it is verified as a whole there.
            conn.push(local, remote, resume=attempt == 0, basis=earlier, on_bytes=count)
            if session.take(digest):
                break
        else:
            raise ReleaseError(
                f"{conn.device.name}: {paths[digest]} arrived damaged",
                detail=f"its sha256 on the device is not {digest}",
                resolution="make the bundle anew and deploy again; if it stays so, the device's "
                "disk or memory is failing",
            )
    return sent


def _install(session: Session, folder: Path, manifest: Manifest, say: Say) -> str:
    say("laying it out, and installing its wheels" if manifest.wheels else "laying it out")
    release = session.assemble((folder / placement.MANIFEST).read_text())
    session.install(release)
    return release


def confirm_within(program: Program) -> float:
    """Seconds after a switch in which a device waits for its confirmation."""
    return CONFIRM_WITHIN + (program.longest() if program else 0)


def _switch(session: Session, release: str, program: Program) -> None:
    """Switch, restart what runs there, and confirm it: without that the device goes back by itself.

    Raises:
        OutcomeUnknown: the link dropped in between.
        ReleaseError: the device could not, its program was not well, or it had gone back when the
            confirmation came.
    """
    limit = confirm_within(program)
    try:
        if session.switch(release, confirm_within=limit):
            if program:
                _restart(session, program)
            session.confirm()
    except ConnectionFailed as error:
        raise OutcomeUnknown(
            f"{session.name}: the connection was lost while it switched",
            detail=f"{error.brief} ({error.detail})",
            resolution=f"it goes back by itself within {limit:.0f} s if it was not told "
            f"that all is well; see: invoke releases --host {session.name}",
        ) from error


def _restart(session: Session, program: Program) -> None:
    """Restart the program with the new release; go back when it is not well.

    Raises:
        ReleaseError: it is not.
    """
    try:
        session.restart(program)
    except ReleaseError as error:
        undone = session.undo()
        there = f"to {undone.back}" if undone.back else "to no release"
        where = there if undone.runs else f"{there}, where it does not run either"
        raise ReleaseError(
            f"{error.brief}, so it went back {where}",
            detail=error.detail,
            resolution="see why on the device, or correct edgewright.service and edgewright.health "
            "of its inventory entry; then deploy again",
        ) from error


def whoami() -> str:
    """Who is at work: user, machine, process."""
    user: object = os.getuid()
    with suppress(KeyError, OSError):  # a container's user may have no name
        user = getpass.getuser()
    return f"{user}@{socket.gethostname()}, process {os.getpid()}"
