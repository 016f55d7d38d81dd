"""docker/NAME/image.toml: the list of what an image installs, one image an architecture.

An image whose suite is "{suite}" is one of a system that devices run: there is one for each. With
`only`, it is made for these Debian architectures alone. With `dockerfile`, its Dockerfile stands in
that other folder of docker/, which several images share.
A spec is data; `relock` resolves it, `images` builds it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolchain.core import paths
from toolchain.core.errors import BuildError, UsageError
from toolchain.targets import Target

FOLDER = paths.ROOT / "docker"
KEYS = {"suite", "arches", "include"}
OPTIONAL = {"only", "dockerfile"}
# Systems of devices, as users name them -> Debian's suites.
SYSTEMS = {"debian12": "bookworm", "debian13": "trixie"}


class NoImageError(UsageError):
    """An image was asked for, for a target that has none of that kind."""


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """An image for a Debian architecture.

    Attributes:
        name: folder, architecture and system, such as cross-riscv64 and device-riscv64-debian13.
        folder: docker/NAME, of its image.toml.
        context: the folder of its Dockerfile and of what that copies.
        suite: Debian suite its packages come from.
        arches: Debian architectures, the one the image runs on first.
        include: packages besides the essential ones and apt.
    """

    name: str
    folder: Path
    context: Path
    suite: str
    arches: tuple[str, ...]
    include: tuple[str, ...]


def spec(kind: str, target: Target, system: str = "") -> ImageSpec:
    """The spec of docker/<kind> for a target.

    Args:
        kind: the folder's name.
        target: {debian} and {triple} in the file stand for its own.
        system: {suite} stands for its suite; the target's first one when empty.

    Raises:
        UsageError: there is no such folder, or none for the target or its system.
        BuildError: its image.toml can't be used.
    """
    folder = FOLDER / kind
    path = folder / "image.toml"
    if not path.is_file():
        raise UsageError(f"unknown image: {kind}", resolution=f"known images: {', '.join(kinds())}")
    try:
        entry = tomllib.loads(path.read_text())
        unknown = (entry.keys() - OPTIONAL) ^ KEYS
        if unknown:
            raise ValueError(f"missing or unknown keys: {', '.join(sorted(unknown))}")
        context = FOLDER / entry.get("dockerfile", kind)
        if not (context / "Dockerfile").is_file():
            raise ValueError(f"there is no {context}/Dockerfile")
        only = entry.get("only", [target.debian])
        if target.debian not in only:
            raise NoImageError(
                f"there is no image {kind} for {target.name}",
                resolution=f"it is made for {', '.join(only)}",
            )
        names = {"debian": target.debian, "triple": target.triple}
        name = f"{kind}-{target.debian}"
        if "{suite}" in entry["suite"]:
            system = _system(target, system)
            names["suite"] = SYSTEMS[system]
            name += f"-{system}"
        return ImageSpec(
            name=name,
            folder=folder,
            context=context,
            suite=entry["suite"].format_map(names),
            arches=tuple(dict.fromkeys(a.format_map(names) for a in entry["arches"])),
            include=tuple(p.format_map(names) for p in entry["include"]),
        )
    except (ValueError, KeyError, AttributeError) as error:
        raise BuildError(f"{path} can't be used", detail=str(error)) from error


def kinds() -> list[str]:
    """The names of all folders of images."""
    return sorted(path.parent.name for path in FOLDER.glob("*/image.toml"))


def every(kinds: Sequence[str], targets: Iterable[Target]) -> list[ImageSpec]:
    """The specs of several images for several targets and all their systems, each once."""
    specs: dict[str, ImageSpec] = {}
    for kind in kinds:
        for target in targets:
            try:
                of_target = [spec(kind, target, system) for system in target.systems() or ("",)]
            except NoImageError:
                continue
            for spec_of_system in of_target:
                specs.setdefault(spec_of_system.name, spec_of_system)
    return list(specs.values())


def _system(target: Target, system: str) -> str:
    known = target.systems()
    if not known:
        raise NoImageError(
            f"{target.name} has no emulator",
            resolution="use a device, or another target's emulator",
        )
    if system and system not in known:
        raise UsageError(
            f"{target.name} has no image of {system}", resolution=f"systems: {', '.join(known)}"
        )
    return system or known[0]
