"""Puts a bundle on a device: plan, send what is missing, verify, install, check, switch.

A plan is plain data; `apply` does what it says. Whatever interrupts it, the device goes on running
the release that it ran before, and the next deployment clears up and succeeds. The steps on the
device are `deploy.agent`'s.
"""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from deploy import probe
from deploy.connection import Connection
from deploy.probe import DeviceFacts
from deploy.session import AGENT, Session, open_session
from toolchain import bundle
from toolchain.bundle import Manifest
from toolchain.errors import EdgewrightError, ReleaseError

KEEP = 3
INSTALL_LIMIT = 900.0
VERIFY_LIMIT = 600.0
TRIES = 2

Say = Callable[[str], None]


class _Plain(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Upload(_Plain):
    """A file that the device lacks; `offset` bytes of it are there from an earlier try."""

    path: str
    sha256: str
    size: int
    offset: int


class Installed(_Plain):
    """A complete release on a device."""

    folder: str
    release: str
    serial: int
    at: str
    models: list[str]
    running: bool
    previous: bool


class Plan(_Plain):
    """What a deployment will do.

    Attributes:
        action: `install` a new release, `switch` to one that is there, or nothing: `unchanged`.
        folder: the release that is there already, for `switch` and `unchanged`.
        replaces: the folder of the release that runs now.
        uploads: what will be sent.
        payload: bytes that will be sent.
        total: bytes of the whole bundle.
        busy: who else deploys to this device just now; empty when nobody does.
    """

    host: str
    root: str
    release: str
    action: Literal["install", "switch", "unchanged"]
    folder: str | None
    replaces: str | None
    uploads: tuple[Upload, ...]
    payload: int
    total: int
    busy: str

    def steps(self) -> list[str]:
        """The plan in words, one step a line."""
        if self.action == "unchanged":
            return [f"{self.release[:16]} runs already: nothing to send"]
        install = [
            *(f"send {u.path} ({u.size - u.offset} bytes)" for u in self.uploads),
            f"lay out {self.root}/releases/{self.release[:16]}",
            "make its venv and install its wheels",
            "check that its packages import and its models load",
        ]
        switch = f"switch from {self.replaces or 'nothing'} to {self.release[:16]}"
        return [*(install if self.action == "install" else ["check it again"]), switch]


class Outcome(_Plain):
    """What a deployment did.

    `sent` counts payload bytes, `seconds` all after the probe and the plan.
    """

    host: str
    status: Literal["done", "unchanged"]
    release: str
    folder: str
    replaced: str | None
    sent: int
    removed: list[str]
    imported: list[str]
    models_loaded: int
    seconds: float


class RolledBack(_Plain):
    """What a rollback did."""

    host: str
    release: str
    folder: str
    replaced: str


def make_plan(host: str, state: dict[str, Any], manifest: Manifest) -> Plan:
    """The plan for a device in that state, as the agent's `inspect` describes it."""
    folder = state["intact"]
    uploads: tuple[Upload, ...] = ()
    if folder is None:
        have, partial = set(state["have"]), state["partial"]
        unique = {f.sha256: f for f in reversed(manifest.files)}
        uploads = tuple(
            Upload(
                path=f.path,
                sha256=f.sha256,
                size=f.size,
                offset=partial.get(f.sha256, 0) if partial.get(f.sha256, 0) <= f.size else 0,
            )
            for f in sorted(unique.values(), key=lambda f: f.path)
            if f.sha256 not in have
        )
    running = state["current"]
    action: Literal["install", "switch", "unchanged"] = "install"
    if folder is not None:
        action = "unchanged" if folder == running else "switch"
    return Plan(
        host=host,
        root=state["root"],
        release=manifest.release,
        action=action,
        folder=folder,
        replaces=running,
        uploads=uploads,
        payload=sum(u.size - u.offset for u in uploads),
        total=manifest.payload_size(),
        busy=state["holder"] or "",
    )


def plan(conn: Connection, manifest: Manifest) -> Plan:
    """What a deployment of this bundle would do; changes nothing on the device.

    Raises:
        DeviceRefused: it has no Python.
        ConnectionFailed: the link dropped.
    """
    with open_session(conn) as session:
        return _plan(session, conn.device.name, manifest)


def deploy(
    conn: Connection,
    folder: Path,
    *,
    keep: int = KEEP,
    say: Say = lambda _: None,
    facts: DeviceFacts | None = None,
) -> Outcome:
    """Probe a device, refuse it or bring it to a bundle's release.

    Args:
        conn: an open connection.
        folder: the bundle.
        keep: releases that stay there, the running and the previous one always among them.
        say: told what happens, for the reader.
        facts: what `probe` found just now; asked for when not given.

    Raises:
        DeviceRefused: the device can't run it; nothing was written.
        ReleaseError: a step failed; the old release still runs.
        ConnectionFailed: the link dropped; the old release still runs.
    """
    manifest = bundle.load(folder)
    if facts is None:
        say("looking at the device")
        facts = probe.probe(conn, modules=manifest.requires.modules)
    with open_session(conn) as session:
        planned = _plan(session, conn.device.name, manifest)
        needs_room = planned.action == "install"
        probe.check(facts, manifest, needed=None if needs_room else 0)
        return _apply(conn, session, folder, manifest, planned, keep=keep, say=say)


def apply(
    conn: Connection,
    folder: Path,
    planned: Plan,
    *,
    keep: int = KEEP,
    say: Say = lambda _: None,
) -> Outcome:
    """Do what a plan says, without a probe. Raises as `deploy`.

    Raises:
        ReleaseError: also when the bundle is no longer the plan's.
    """
    manifest = bundle.load(folder)
    if manifest.release != planned.release:
        raise ReleaseError(
            f"{planned.host}: the plan is for another release",
            detail=f"plan {planned.release[:16]}, bundle {manifest.release[:16]}",
            resolution="make the plan anew",
        )
    with open_session(conn) as session:
        return _apply(conn, session, folder, manifest, planned, keep=keep, say=say)


def releases(conn: Connection) -> list[Installed]:
    """The complete releases on a device, oldest first.

    Raises:
        DeviceRefused: it has no Python.
        ConnectionFailed: the link dropped.
    """
    with open_session(conn) as session:
        state = session.ask("inspect", release="", files=[])
    return [
        Installed(
            **{key: entry[key] for key in ("folder", "release", "serial", "at", "models")},
            running=entry["folder"] == state["current"],
            previous=entry["folder"] == state["previous"],
        )
        for entry in state["releases"]
    ]


def rollback(conn: Connection) -> RolledBack:
    """Switch a device back to the release that it ran before.

    Raises:
        ReleaseError: there is none, it is damaged, or another deployment is under way.
        ConnectionFailed: the link dropped.
    """
    with open_session(conn) as session:
        session.ask("lock", who=_me())
        done = session.ask("rollback", limit=VERIFY_LIMIT)
    return RolledBack(
        host=conn.device.name, release=done["release"], folder=done["to"], replaced=done["from"]
    )


def _plan(session: Session, host: str, manifest: Manifest) -> Plan:
    files = [{"sha256": f.sha256, "size": f.size} for f in manifest.files]
    state = session.ask("inspect", release=manifest.release, files=files, limit=VERIFY_LIMIT)
    return make_plan(host, state, manifest)


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
    checked: dict[str, Any] = {"imported": [], "models": 0}
    there = planned.folder
    replaced = planned.replaces
    if planned.action != "unchanged":
        session.ask("lock", who=_me())
        # Someone else may have deployed between the plan and the lock.
        now = _plan(session, planned.host, manifest)
        there, replaced = now.folder, now.replaces
        try:
            if there is None:
                sent = _send(conn, session, folder, manifest, say)
                there = _install(session, folder, say)
            say("checking that packages import and models load")
            checked = _check(session, there)
            if now.folder is None:
                session.ask("finish", folder=there, limit=VERIFY_LIMIT)
        except EdgewrightError:
            with suppress(EdgewrightError):
                session.ask("abandon")
            raise
        say("switching")
        session.ask("switch", folder=there)
        try:
            removed = session.ask("clean", keep=keep, limit=VERIFY_LIMIT)
        except ReleaseError as error:
            # The new release runs and is on disk; the next deployment clears up what is left.
            say(f"old releases could not be removed: {error.brief} ({error.detail})")
    assert there is not None
    return Outcome(
        host=planned.host,
        status="unchanged" if planned.action == "unchanged" else "done",
        release=manifest.release,
        folder=there,
        replaced=replaced,
        sent=sent,
        removed=removed,
        imported=checked["imported"],
        models_loaded=checked["models"],
        seconds=round(time.monotonic() - started, 3),
    )


def _send(conn: Connection, session: Session, folder: Path, manifest: Manifest, say: Say) -> int:
    """Send what is missing and have each file verified there; return the bytes sent."""
    files = [{"sha256": f.sha256, "size": f.size} for f in manifest.files]
    found = session.ask("prepare", files=files, limit=VERIFY_LIMIT)
    paths = {f.sha256: f.path for f in manifest.files}
    whole = sum(item["size"] - item["offset"] for item in found["missing"])
    sent = 0

    def count(size: int) -> None:
        nonlocal sent
        sent += size
        say(f"sending: {sent / 1e6:.1f} of {whole / 1e6:.1f} MB")
        session.keep_awake()

    for item in found["missing"]:
        digest, remote = item["sha256"], f"{found['incoming']}/{item['sha256']}"
        local = folder / paths[digest]
        for attempt in range(TRIES):
            # What an interrupted try left is only trusted once; it is verified as a whole there.
            conn.push(local, remote, resume=attempt == 0, on_bytes=count)
            if session.ask("take", sha256=digest, limit=VERIFY_LIMIT):
                break
        else:
            raise ReleaseError(
                f"{conn.device.name}: {paths[digest]} arrived damaged",
                detail=f"its sha256 on the device is not {digest}",
                resolution="make the bundle anew and deploy again; if it stays so, the device's "
                "disk or memory is failing",
            )
    return sent


def _install(session: Session, folder: Path, say: Say) -> str:
    say("installing the wheels")
    text = (folder / bundle.MANIFEST).read_text()
    there = str(session.ask("assemble", manifest=text, limit=VERIFY_LIMIT))
    session.ask("install", folder=there, limit=INSTALL_LIMIT + 30, seconds=INSTALL_LIMIT)
    return there


def _check(session: Session, there: str) -> dict[str, Any]:
    program = (AGENT / "selfcheck.py").read_text()
    found = session.ask(
        "check", folder=there, program=program, limit=INSTALL_LIMIT + 30, seconds=INSTALL_LIMIT
    )
    assert isinstance(found, dict)
    return found


def _me() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()}, process {os.getpid()}"
