"""docker/NAME/image.toml: the list of what an image installs, one image an architecture.

A spec is data; `relock` resolves it, `images` builds it.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from toolchain import paths
from toolchain.errors import BuildError, UsageError
from toolchain.targets import Target

FOLDER = paths.ROOT / "docker"
KEYS = {"suite", "arches", "include"}


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """An image for a Debian architecture.

    Attributes:
        name: folder and architecture, such as cross-riscv64.
        folder: docker/NAME, the context of its Dockerfile.
        suite: Debian suite its packages come from.
        arches: Debian architectures, the one the image runs on first.
        include: packages besides the essential ones and apt.
    """

    name: str
    folder: Path
    suite: str
    arches: tuple[str, ...]
    include: tuple[str, ...]


def spec(kind: str, target: Target) -> ImageSpec:
    """The spec of docker/<kind> for a target; {debian} and {triple} stand for the target's own.

    Raises:
        UsageError: there is no such folder.
        BuildError: its image.toml can't be used.
    """
    folder = FOLDER / kind
    path = folder / "image.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.parent.name for p in FOLDER.glob("*/image.toml")))
        raise UsageError(f"unknown image: {kind}", resolution=f"known images: {known}")
    try:
        entry = tomllib.loads(path.read_text())
        unknown = entry.keys() ^ KEYS
        if unknown:
            raise ValueError(f"missing or unknown keys: {', '.join(sorted(unknown))}")
        names = {"debian": target.debian, "triple": target.triple}
        return ImageSpec(
            name=f"{kind}-{target.debian}",
            folder=folder,
            suite=entry["suite"],
            arches=tuple(a.format_map(names) for a in entry["arches"]),
            include=tuple(p.format_map(names) for p in entry["include"]),
        )
    except (ValueError, KeyError, AttributeError) as error:
        raise BuildError(f"{path} can't be used", detail=str(error)) from error
