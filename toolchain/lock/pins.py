"""The lock: every input of a build, named by pool path or file name, version, size and sha256.

It holds no address: where the bytes come from is this machine's business (`mirrors`). Reading and
checking only; `relock` renews it.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from toolchain.core.errors import LockError, UsageError
from toolchain.core.field_types import Sha256

FOLDER = Path(__file__).with_name("data")
SOURCES = FOLDER / "sources.toml"

_POOL_PATH = re.compile(r"^pool/[\w+.~/-]+$")
RENEW = "renew the pins with: invoke lock"


class _Pin(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Pinned(_Pin):
    """One file to fetch.

    Attributes:
        origin: "debian" (path in the archive's pool) or "pypi" (file of a project).
        path: the pool path, or the file's name.
        project: the project, when from PyPI.
        version: as the origin writes it.
        size: bytes.
    """

    origin: Literal["debian", "pypi"]
    path: str
    project: str = ""
    version: str
    sha256: Sha256
    size: int

    @property
    def file_name(self) -> str:
        """The last part of the path."""
        return self.path.rsplit("/", 1)[-1]


class Package(_Pin):
    """One Debian binary package of an image."""

    name: str
    arch: str
    version: str
    path: str
    sha256: Sha256
    size: int

    def pinned(self) -> Pinned:
        """The file to fetch."""
        return Pinned(
            origin="debian",
            path=self.path,
            version=self.version,
            sha256=self.sha256,
            size=self.size,
        )


class ImageLock(_Pin):
    """The closure of an image's packages; `digest` is the hash of all the other fields."""

    digest: Sha256
    image: str
    suite: str
    arches: list[str]
    include: list[str]
    packages: list[Package]


@cache
def sources() -> Mapping[str, Pinned]:
    """Every source by its name in the lock.

    Raises:
        LockError: the file can't be used.
    """
    try:
        entries = tomllib.loads(SOURCES.read_text())
        pins = {name: Pinned(**entry) for name, entry in entries.items()}
    except (OSError, tomllib.TOMLDecodeError, ValidationError, TypeError) as error:
        raise LockError(
            f"{SOURCES.name} can't be used", detail=str(error), resolution=RENEW
        ) from error
    for name, pin in pins.items():
        if pin.origin == "debian" and not _is_pool_path(pin.path):
            raise LockError(f"{SOURCES.name}: {name}: not a path in the pool: {pin.path}")
        if pin.origin == "pypi" and ("/" in pin.path or not pin.project):
            raise LockError(f"{SOURCES.name}: {name}: needs a project and a plain file name")
    return pins


def source(name: str) -> Pinned:
    """One source.

    Raises:
        UsageError: the lock has none of that name.
    """
    known = sources()
    if name not in known:
        raise UsageError(
            f"the lock has no source named {name}",
            resolution=f"{SOURCES.name} has: {', '.join(sorted(known))}",
        )
    return known[name]


def image_path(name: str) -> Path:
    """Where the lock of an image is kept."""
    return FOLDER / f"{name}.json"


def digest_of(fields: Mapping[str, object]) -> str:
    """The digest of an image's lock, of all its fields but that one."""
    text = json.dumps({k: v for k, v in fields.items() if k != "digest"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def image(name: str) -> ImageLock:
    """The locked packages of an image such as cross-riscv64.

    Raises:
        LockError: there is no lock for it, or it can't be used, or was edited by hand.
    """
    path = image_path(name)
    try:
        fields = json.loads(path.read_text())
        locked = ImageLock(**fields)
    except (OSError, ValueError, TypeError) as error:
        raise LockError(
            f"the lock of image {name} can't be used", detail=str(error), resolution=RENEW
        ) from error
    if digest_of(fields) != locked.digest:
        raise LockError(f"the lock of image {name} was edited by hand", resolution=RENEW)
    for package in locked.packages:
        if not _is_pool_path(package.path):
            raise LockError(f"{path.name}: not a path in the pool: {package.path}")
    return locked


def _is_pool_path(path: str) -> bool:
    return bool(_POOL_PATH.match(path)) and ".." not in path.split("/")
