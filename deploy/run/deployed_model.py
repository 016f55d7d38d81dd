"""The model that is to be run, as it is deployed on a device, and under which runtime.

What is there is read as files, which takes a moment; nothing of ours is started for it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from toolchain.bundle.assemble import BundledModel, Executable
from toolchain.core.errors import BenchError, CommandError, UsageError
from toolchain.models.manifest import ModelManifest
from toolchain.models.variants import PLAIN
from toolchain.results import measurement

NEWEST = 20  # results of a host that are looked through for one of the model


class Connection(Protocol):
    """The part of `deploy.ssh.connection.Connection` that is used here."""

    def run(self, args: Sequence[str]) -> str:
        """Run a command on the device and return its standard output."""
        ...


class _Release(BaseModel):
    # a release may say more than is read here
    model_config = ConfigDict(extra="ignore", frozen=True)
    release: str
    target: str
    models: list[BundledModel]
    wheels: list[str] | None = None


@dataclass(frozen=True, kw_only=True)
class DeployedModel:
    """A model of the release that a device runs.

    Attributes:
        release: its id.
        manifest: the model's, as it is there.
        executables: what runs it there, the usual one first.
        labels: the names of its classes; empty where there are none.
    """

    release: str
    manifest: ModelManifest
    executables: tuple[Executable, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What runs a model.

    Attributes:
        executable: the file and its runtime.
        threads: of the runtime; None leaves it to the release.
        why: it was chosen, in words; empty where the user did.
    """

    executable: Executable
    threads: int | None
    why: str = ""


def deployed(conn: Connection, host: str, root: str, name: str, batch: int) -> DeployedModel:
    """Read what a device has of a model.

    Args:
        conn: an open connection.
        host: the device's name.
        root: our folder there, absolute or below ~/.
        name: the model's; the only one there when empty.
        batch: its batch size.

    Raises:
        BenchError: nothing is deployed there, or what is there can't be read.
        UsageError: the model isn't.
    """
    current = f"{root.removeprefix('~/')}/current"
    deploy = f"invoke deploy --host {host}"
    try:
        text = conn.run(["cat", f"{current}/manifest.json"])
    except CommandError as error:
        raise BenchError(f"nothing is deployed on {host}", resolution=f"run: {deploy}") from error
    try:
        release = _Release.model_validate_json(text)
    except ValidationError as error:
        raise BenchError(
            f"what is deployed on {host} can't be read",
            detail=str(error),
            resolution=f"deploy again: {deploy}",
        ) from error
    if release.wheels == []:
        raise BenchError(
            f"the release on {host} is one for a device without Python, and run needs one there",
            resolution=f"there: apt-get install python3 python3-numpy; then {deploy}",
        )
    entry = _entry(release.models, host, name, batch)
    if not entry.executables:
        raise BenchError(
            f"the release on {host} was made before a model could be run by itself",
            resolution=f"deploy again: {deploy}",
        )
    try:
        manifest = ModelManifest.model_validate_json(conn.run(["cat", f"{current}/{entry.card}"]))
        labels: tuple[str, ...] = ()
        if manifest.labels is not None:
            path = f"{current}/{entry.folder}/{manifest.labels.file}"
            labels = tuple(conn.run(["cat", path]).splitlines())
    except (CommandError, ValidationError) as error:
        raise BenchError(
            f"{entry.model} on {host} lacks its manifest or its labels",
            detail=str(error),
            resolution=f"deploy again: {deploy}",
        ) from error
    return DeployedModel(
        release=release.release,
        manifest=manifest,
        executables=tuple(entry.executables),
        labels=labels,
    )


def _entry(models: Sequence[BundledModel], host: str, name: str, batch: int) -> BundledModel:
    names = sorted({model.model for model in models})
    if not name and len(names) == 1:
        name = names[0]
    if name not in names:
        what = f"the device has no model {name}" if name else "which model?"
        listed = ", ".join(names) or "none"
        raise UsageError(
            what,
            detail=f"{host} has {listed}",
            resolution=f"--model {names[0]}" if names else f"run: invoke deploy --host {host}",
        )
    sizes = {model.batch: model for model in models if model.model == name}
    if batch not in sizes:
        held = ", ".join(map(str, sorted(sizes)))
        raise UsageError(
            f"the device has {name} at batch {held}, not {batch}", resolution=f"--batch {held}"
        )
    return sizes[batch]


def choose(
    there: DeployedModel,
    *,
    runtime: str,
    variant: str,
    opt_level: int | None,
    threads: int | None,
    measured: measurement.Measurement | None,
) -> Choice:
    """What runs a model: what the user says, else the fastest that was measured.

    Args:
        there: the model.
        runtime: its name; any when empty.
        variant: of the network; as it was trained when empty.
        opt_level: of a runtime that has such levels; the highest when None.
        threads: of the runtime; what was measured, or what the release says, when None.
        measured: from `fastest`.

    Raises:
        UsageError: nothing there is that.
    """
    variant = variant or PLAIN
    found = [
        one
        for one in there.executables
        if runtime in ("", one.runtime)
        and one.variant == variant
        and opt_level in (None, one.opt_level)
    ]
    if not found:
        raise UsageError(
            f"the device has no such form of {there.manifest.model}",
            detail="it has " + ", ".join(words(one) for one in there.executables),
            resolution="choose by --runtime, --variant and --opt-level",
        )
    if runtime or measured is None:
        why = "" if runtime else "nothing was measured there yet"
        return Choice(executable=found[0], threads=threads, why=why)
    for one in found:
        if (one.runtime, one.opt_level) == (measured.runtime, measured.opt_level):
            return Choice(
                executable=one,
                threads=threads or measured.threads,
                why="the fastest that was measured there",
            )
    return Choice(executable=found[0], threads=threads)


def words(one: Executable) -> str:
    """A file that a runtime executes, in words."""
    level = "" if one.opt_level is None else f" O{one.opt_level}"
    return f"{one.runtime} {one.variant}{level}"


def fastest(
    folder: Path, host: str, there: DeployedModel, variant: str
) -> measurement.Measurement | None:
    """The fastest measurement of a model in the newest result of a host that has any.

    Args:
        folder: results/.
        host: its name in the inventory.
        there: the model: only what was measured of these very files counts.
        variant: of the network; as it was trained when empty.
    """
    manifest = there.manifest
    hashes = manifest.files()
    prefix = f"{manifest.model}/b{manifest.batch}/"
    files = {hashes.get(one.file.partition(prefix)[2]) for one in there.executables}
    for path in sorted(folder.glob(f"*-{host}*.json"), reverse=True)[:NEWEST]:
        try:
            result = measurement.load(path)
        except (BenchError, json.JSONDecodeError):
            continue
        times = {
            timing.latency_ns: one
            for one in result.measurements
            if result.host == host
            and (one.model, one.batch) == (manifest.model, manifest.batch)
            and one.variant == (variant or PLAIN)
            and one.artifact is not None
            and one.artifact.sha256 in files
            and (timing := one.timing()) is not None
        }
        if times:
            return times[min(times)]
    return None
