"""Image archives whose bytes, and so the image's id, depend on content alone.

An engine stamps what it builds with the time, its version, a container's id and the order of its
file system. Here layers are written again with sorted entries and no younger time than the
epoch, and the configuration keeps only what a Dockerfile says.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from toolchain.core.errors import BuildError
from toolchain.core.store import digest_file

# What the Dockerfile can set; the rest of a configuration is the engine's own.
KEPT = ("Env", "Cmd", "Entrypoint", "User", "WorkingDir", "ExposedPorts", "Volumes")
# Written by tools that run in a RUN step, with times or process ids inside.
DROPPED = ("etc/.pwd.lock", "var/log/", "run/", "tmp/", "etc/hosts", "etc/resolv.conf")
BACKUPS = ("etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-", "etc/subuid-", "etc/subgid-")


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer's tar and its hash, which the engine calls the diff id."""

    path: Path
    diff_id: str

    @classmethod
    def of(cls, path: Path) -> Layer:
        """The layer of a tar file."""
        return cls(path=path, diff_id=digest_file(path))


def added_layers(saved: Path, into: Path, epoch: int) -> list[Layer]:
    """The layers of a saved image after its first, sealed.

    Args:
        saved: archive as `docker save` writes it.
        into: folder for the layers' files.
        epoch: newest time an entry may have, seconds.

    Raises:
        BuildError: the archive is not one.
    """
    layers: list[Layer] = []
    with tarfile.open(saved) as archive:
        manifest = archive.extractfile("manifest.json")
        if manifest is None:
            raise BuildError("the engine saved an image without a manifest")
        names = json.load(manifest)[0]["Layers"][1:]
        for number, name in enumerate(names, start=1):
            stream = archive.extractfile(name)
            if stream is None:
                raise BuildError(f"the engine saved an image without its layer {name}")
            path = into / f"layer{number}.tar"
            with tarfile.open(fileobj=stream) as layer:
                sealed = _seal_layer(layer, path, epoch)
            if sealed:
                layers.append(Layer.of(path))
    return layers


def write_archive(
    archive: Path,
    layers: list[Layer],
    config: Mapping[str, Any],
    architecture: str,
    epoch: int,
    tag: str,
) -> str:
    """Write an image archive that `docker load` takes.

    Returns:
        the image's id: sha256: and the hash of its configuration.
    """
    created = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    described = {
        "architecture": architecture,
        "config": {k: config[k] for k in KEPT if config.get(k)},
        "created": created,
        "history": [{"created": created, "created_by": "edgewright"} for _ in layers],
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{x.diff_id}" for x in layers]},
    }
    text = json.dumps(described, sort_keys=True, separators=(",", ":")).encode()
    digest = hashlib.sha256(text).hexdigest()
    manifest = [
        {
            "Config": f"{digest}.json",
            "RepoTags": [tag],
            "Layers": [f"{x.diff_id}/layer.tar" for x in layers],
        }
    ]
    with tarfile.open(archive, "w") as tar:
        _add(tar, f"{digest}.json", text)
        for layer in layers:
            member = tarfile.TarInfo(f"{layer.diff_id}/layer.tar")
            member.size = layer.path.stat().st_size
            with layer.path.open("rb") as stream:
                tar.addfile(member, stream)
        _add(tar, "manifest.json", json.dumps(manifest).encode())
    return f"sha256:{digest}"


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _seal_layer(layer: tarfile.TarFile, path: Path, epoch: int) -> bool:
    """Write a layer sorted and without times; False when nothing of it is left."""
    members = {m.name: m for m in layer.getmembers()}
    kept = [
        m
        for name, m in sorted(members.items())
        if not name.startswith(DROPPED) and name not in BACKUPS and not _only_on_the_way(m, members)
    ]
    if not any(not m.isdir() for m in kept):
        return False
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as sealed:
        for member in kept:
            member.mtime = min(int(member.mtime), epoch)
            member.uname = member.gname = ""
            member.pax_headers = {
                k: v for k, v in member.pax_headers.items() if k.startswith("SCHILY.xattr.")
            }
            content = layer.extractfile(member) if member.isreg() else None
            sealed.addfile(member, content)
    return True


def _only_on_the_way(member: tarfile.TarInfo, members: Mapping[str, tarfile.TarInfo]) -> bool:
    """A folder that is listed only because something dropped was changed in it."""
    if not member.isdir():
        return False
    inside = [n for n in members if n.startswith(member.name + "/")]
    return bool(inside) and all(n.startswith(DROPPED) or n in BACKUPS for n in inside)
