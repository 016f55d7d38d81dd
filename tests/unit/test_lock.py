"""The lock names files, never addresses, and a lock that can't be used says so."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from toolchain import targets
from toolchain.core.errors import LockError, UsageError
from toolchain.images import build as images
from toolchain.images import specification
from toolchain.lock import pins, resolve
from toolchain.lock.pins import Package
from toolchain.wheels import build

SHIPPED = pins.FOLDER
ENTRY = """
[thing]
origin = "debian"
path = "pool/main/t/thing_1.orig.tar.xz"
version = "1"
sha256 = "{sha}"
size = 3
"""


def package(name: str, version: str) -> Package:
    return Package(
        name=name, arch="amd64", version=version, path=f"pool/{name}.deb", sha256="0" * 64, size=1
    )


def test_the_shipped_lock_holds_no_address() -> None:
    for path in pins.FOLDER.iterdir():
        assert not re.search(r"\w+://", path.read_text()), path.name


def test_every_image_of_every_target_is_locked_with_what_it_includes() -> None:
    specs = specification.every(specification.kinds(), targets.all_targets().values())
    assert {s.name for s in specs} == {path.stem for path in pins.FOLDER.glob("*.json")}
    for spec in specs:
        locked = pins.image(spec.name)
        assert tuple(locked.include) == spec.include
        names = {p.name for p in locked.packages}
        assert {name.split(":")[0] for name in spec.include} <= names


def test_every_source_of_every_recipe_is_locked() -> None:
    for name in build.recipes():
        made, _ = build.recipe(name)
        # ExecuTorch's project publishes for these alone
        few = {"aarch64", "x86_64"} if name == "executorch" else None
        for target in targets.all_targets().values():
            if few is not None and target.machine not in few:
                continue
            entries = made.locked(target)
            assert all(pins.source(entry).size > 0 for entry in entries.values())
            assert {x.source for x in made.licences} <= entries.keys()


def test_an_unknown_source_is_named_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="no source named nothing"):
        pins.source("nothing")


@pytest.mark.parametrize(
    "text",
    [
        "not toml [",
        ENTRY.format(sha="short"),
        ENTRY.format(sha="0" * 64) + "extra = 1\n",
        ENTRY.format(sha="0" * 64).replace("pool/main", "pool/../.."),
        ENTRY.format(sha="0" * 64).replace("pool/main", "//host/pool"),
        ENTRY.format(sha="0" * 64).replace('"debian"', '"pypi"'),
        ENTRY.format(sha="0" * 64).replace("size = 3", 'size = "3"'),
    ],
)
def test_a_lock_edited_by_hand_is_refused(lock_folder: Path, text: str) -> None:
    (lock_folder / "sources.toml").write_text(text)
    pins.sources.cache_clear()
    with pytest.raises(LockError):
        pins.sources()


def test_an_image_lock_that_is_missing_or_damaged_is_refused(lock_folder: Path) -> None:
    with pytest.raises(LockError, match="cross-x"):
        pins.image("cross-x")
    (lock_folder / "cross-x.json").write_text(json.dumps({"image": "cross-x"}))
    with pytest.raises(LockError, match="cross-x"):
        pins.image("cross-x")


def test_an_image_lock_edited_by_hand_is_refused(lock_folder: Path) -> None:
    fields = json.loads((SHIPPED / "cross-riscv64.json").read_text())
    fields["packages"].pop()
    (lock_folder / "cross-riscv64.json").write_text(json.dumps(fields))
    with pytest.raises(LockError, match="edited by hand") as caught:
        pins.image("cross-riscv64")
    assert "invoke lock" in caught.value.resolution


def test_an_image_list_that_is_newer_than_its_lock_is_refused() -> None:
    spec = specification.spec("cross", targets.target("rv64gc"))
    grown = dataclasses.replace(spec, include=(*spec.include, "gdb"))
    with pytest.raises(LockError, match="has changed since cross-riscv64 was locked") as caught:
        images.key_of(grown)
    assert caught.value.detail == "it differs in: gdb"


def test_what_moved_is_told_by_name() -> None:
    old = [package("same", "1"), package("newer", "1"), package("gone", "1")]
    new = [package("same", "1"), package("newer", "2"), package("fresh", "1")]
    told = [(m.name, m.old, m.new) for m in resolve.moved("i", old, new)]
    assert told == [
        ("fresh:amd64", "", "1"),
        ("gone:amd64", "1", ""),
        ("newer:amd64", "1", "2"),
    ]
