"""Two machines that share a cache, for tests: each a store of its own, one key between them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from toolchain.core import signing
from toolchain.core.store import Entry, digest_of
from toolchain.shared_cache import shared_store, statement, trusted_keys
from toolchain.shared_cache.shared_store import SharedStore
from toolchain.shared_cache.statement import SharedFile, Statement

INPUTS = {"kind": "wheel", "made": "of this"}
KEY = digest_of(INPUTS)
TAKEN = f"shared cache: wheel {KEY[:12]} is taken"
WHEEL = b"PK" + bytes(range(256)) * 8000  # 2 MB


def build(folder: Path) -> None:
    """A wheel's entry, with what only some have: a program, folders, twice the same bytes."""
    (folder / "net-1-py3-none-any.whl").write_bytes(WHEEL)
    (folder / "bin" / "empty").mkdir(parents=True)
    (folder / "bin" / "program").write_text("#!/bin/sh\n")
    (folder / "bin" / "program").chmod(0o755)
    (folder / "bin" / "copy").write_text("#!/bin/sh\n")


@dataclass
class Team:
    """A team's cache at an address, and the machines that use it.

    Attributes:
        folder: of all that the test makes.
        address: of the cache.
        said: the lines that were printed.
    """

    folder: Path
    address: str
    patch: pytest.MonkeyPatch
    said: list[str] = field(default_factory=list)
    builds: int = 0

    def __post_init__(self) -> None:
        self.patch.setenv("EDGEWRIGHT_KEYS", str(self.folder / "keys"))
        self.patch.setenv("EDGEWRIGHT_DIST", str(self.folder / "project"))
        self.patch.setenv("EDGEWRIGHT_SHARED_CACHE", self.address)
        self.patch.delenv("EDGEWRIGHT_SHARE", raising=False)
        signing.make_key()
        trusted_keys.path().parent.mkdir(exist_ok=True)
        trusted_keys.path().write_text(f"# the build server\n\n{signing.public_key()}\n")

    def machine(self, name: str, *, share: bool = False) -> SharedStore:
        """A machine in a process of its own: what the one before found out is forgotten."""
        shared_store._team.cache_clear()
        self.patch.setenv("EDGEWRIGHT_CACHE", str(self.folder / name))
        opened = shared_store.opened(self.said.append, share=share)
        assert isinstance(opened, SharedStore)
        return opened

    def built(self, name: str, *, share: bool = False) -> Entry:
        """The entry as a machine gets it: from its store, from the cache, or built there."""

        def counted(folder: Path) -> None:
            self.builds += 1
            build(folder)

        return self.machine(name, share=share).get_or_build(INPUTS, counted)

    def given(self) -> Entry:
        """The entry, built on one machine and given to the cache."""
        entry = self.built("giver", share=True)
        self.said.clear()
        self.builds = 0
        return entry


@dataclass
class Signed:
    """A statement in a cache that is a folder, to be changed by one who has the trusted key."""

    path: Path

    def change(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the statement and sign it anew."""
        fields = json.loads(self.path.read_text())["statement"]
        change(fields)
        files = {n: SharedFile.model_construct(**f) for n, f in fields.pop("files").items()}
        folders = tuple(fields.pop("folders"))
        made = Statement.model_construct(**fields, files=files, folders=folders)
        self.path.write_bytes(statement.written(made, signing.Signer()))


def signed(shared: Path) -> Signed:
    """The statement in a cache that is a folder."""
    return Signed(shared / "entries" / KEY[:2] / f"{KEY}.json")


def wheel_in(shared: Path) -> Path:
    """The largest file in it."""
    return max((shared / "files").glob("*/*"), key=lambda path: path.stat().st_size)


def other_bytes(shared: Path) -> None:
    """Change the last byte of the largest file."""
    path = wheel_in(shared)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
