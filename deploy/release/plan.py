"""What a deployment will do and what it did, as plain data.

Nothing here talks to a device; `deploy.release.deployment` does what a plan says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from deploy.inventory.program import NONE, Program
from deploy.release.agent_answers import Inspection
from toolchain.bundle.assemble import Manifest

INSTALLATION = (
    "make its venv and install its wheels",
    "check that its packages import and its models load",
)
Action = Literal["install", "switch", "unchanged"]
ARRAYS = (".npz", ".npy")  # of a network's files: its inputs, and what comes out for them


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
        steps: the same in words, one step a line.
    """

    host: str
    root: str
    release: str
    action: Action
    folder: str | None
    replaces: str | None
    uploads: tuple[Upload, ...]
    payload: int
    total: int
    busy: str
    steps: tuple[str, ...]


class Outcome(_Plain):
    """What a deployment did.

    `sent` counts payload bytes, `seconds` all after the probe and the plan. What is not known,
    because the link was lost before it was said, is None.
    """

    host: str
    status: Literal["done", "unchanged"]
    release: str
    folder: str
    replaced: str | None
    sent: int | None
    removed: list[str] | None
    imported: list[str] | None
    models_loaded: int | None
    seconds: float | None

    def sent_in_words(self) -> str:
        """How much was sent."""
        return "unknown" if self.sent is None else str(self.sent)


class RolledBack(_Plain):
    """What a rollback did."""

    host: str
    release: str
    folder: str
    replaced: str


class Trusting(_Plain):
    """A device that takes only what this key signed."""

    key: str


class Removed(_Plain):
    """A release that is gone."""

    folder: str


class Trusted(_Plain):
    """The keys whose releases a device takes, by fingerprint; it takes any where there are none."""

    keys: dict[str, str]


def make_plan(host: str, state: Inspection, manifest: Manifest, program: Program = NONE) -> Plan:
    """The plan for a device in that state, with the program that lives with its releases."""
    folder = state.intact
    uploads: tuple[Upload, ...] = ()
    if folder is None:
        have, partial = set(state.have), state.partial
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
    # a switch that nobody confirmed is undone before anything else is done there
    pending = state.pending
    running = pending.back if pending is not None else state.current
    action: Action = "install"
    if folder is not None:
        action = "unchanged" if folder == running and pending is None else "switch"
    return Plan(
        host=host,
        root=state.root,
        release=manifest.release,
        action=action,
        folder=folder,
        replaces=running,
        uploads=uploads,
        payload=_size(uploads),
        total=manifest.payload_size(),
        busy=state.holder or "",
        steps=_steps(action, manifest, running, state.root, uploads, program),
    )


def _steps(
    action: Action,
    manifest: Manifest,
    running: str | None,
    root: str,
    uploads: tuple[Upload, ...],
    program: Program,
) -> tuple[str, ...]:
    release = manifest.release[:16]
    if action == "unchanged":
        return (f"{release} runs already: nothing to send", *program.steps_unchanged())
    switch = f"switch from {running or 'nothing'} to {release}"
    if action == "switch":
        return ("check it again", switch, *program.steps())
    return (
        *_sent(uploads),
        f"lay out {root}/releases/{release}",
        *(INSTALLATION if manifest.wheels else ("compare every file with the bundle's",)),
        switch,
        *program.steps(),
    )


def _sent(uploads: tuple[Upload, ...]) -> list[str]:
    """What is sent, in a line for each network and for each kind of other file."""
    groups: dict[str, list[Upload]] = {}
    for upload in uploads:
        parts = upload.path.split("/")
        # models/NAME/bBATCH/FILE
        depth = 3 if parts[0] == "models" else 1
        groups.setdefault("/".join(parts[: min(depth, len(parts) - 1)]), []).append(upload)
    lines = []
    for folder, files in groups.items():
        what = files[0].path if len(files) == 1 else f"{len(files)} files of {folder or 'the top'}"
        samples = [u for u in files if folder.startswith("models/") and u.path.endswith(ARRAYS)]
        of_them = (
            f", {_size(samples)} of them inputs that bench compares outputs on: --samples N sends N"
            if samples
            else ""
        )
        lines.append(f"send {what} ({_size(files)} bytes{of_them})")
    return lines


def _size(uploads: Sequence[Upload]) -> int:
    """Bytes that are still to be sent."""
    return sum(u.size - u.offset for u in uploads)
