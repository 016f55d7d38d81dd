"""A source that the store keeps unpacked is the one that its archive holds."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tests.support.mirror import Mirror
from tests.support.pins import pin
from toolchain import targets
from toolchain.core import process
from toolchain.core.errors import CommandError, LockError, NoSpaceError
from toolchain.core.store import Store
from toolchain.lock import fetch, unpack
from toolchain.lock.pins import Pinned
from toolchain.wheels.recipe import Job, Recipe
from toolchain.wheels.sources import source_trees

RECIPE = Recipe(
    name="x",
    version="1",
    summary="x",
    sources=("x",),
    licences=(),
    extension=False,
    parts=MappingProxyType({"x": ("run", "sub")}),
)


@pytest.fixture
def archive(mirror: Mirror) -> Pinned:
    """A source with a program, a link and a file that no one wants."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as made:
        for name, mode in (("x-1/run", 0o755), ("x-1/sub/a", 0o644), ("x-1/left", 0o644)):
            member = tarfile.TarInfo(name)
            member.size, member.mode = 1, mode
            made.addfile(member, io.BytesIO(b"1"))
        link = tarfile.TarInfo("x-1/sub/link")
        link.type, link.linkname = tarfile.SYMTYPE, "a"
        made.addfile(link)
    wanted = pin(buffer.getvalue())
    mirror.put(wanted.path, buffer.getvalue())
    return wanted


def lay_out(source: Pinned, store: Store, into: Path, *, kept: bool = True) -> dict[str, str]:
    """What lies below the folder: a link's target, or mode and content of a file."""
    job = Job(target=targets.target("rv64gc"), headers="", jobs=2, epoch=0)
    source_trees.lay_out(
        RECIPE, {"x": source}, lambda pin: fetch.path_of(pin, store), store, into, job, kept=kept
    )
    found = {}
    for path in sorted(into.rglob("*")):
        name = str(path.relative_to(into))
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_file():
            found[name] = f"{stat.S_IMODE(path.stat().st_mode):o} {path.read_text()}"
    return found


def test_a_kept_tree_is_what_its_archive_holds(
    archive: Pinned, store: Store, tmp_path: Path
) -> None:
    wanted = {"x/run": "755 1", "x/sub/a": "644 1", "x/sub/link": "a"}
    assert lay_out(archive, store, tmp_path / "archive", kept=False) == wanted
    assert not (store.root / "entries").exists()
    assert lay_out(archive, store, tmp_path / "first") == wanted
    assert lay_out(archive, store, tmp_path / "second") == wanted


def test_an_archive_is_read_once_for_a_kept_tree(
    archive: Pinned, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = lay_out(archive, store, tmp_path / "first")
    monkeypatch.setattr(unpack, "unpack_apart", None)
    assert lay_out(archive, store, tmp_path / "second") == first


def test_a_damaged_tree_is_made_again(archive: Pinned, store: Store, tmp_path: Path) -> None:
    first = lay_out(archive, store, tmp_path / "first")
    (tree,) = (store.root / "entries").rglob(source_trees.TREE)
    tree.write_bytes(tree.read_bytes().replace(b"x", b"y"))
    assert lay_out(archive, store, tmp_path / "second") == first


def test_nothing_is_kept_of_an_archive_that_is_refused(
    mirror: Mirror, store: Store, tmp_path: Path
) -> None:
    bad = pin(b"no archive")
    mirror.put(bad.path, b"no archive")
    with pytest.raises(LockError, match="can't be unpacked"):
        lay_out(bad, store, tmp_path / "x")
    assert not (store.root / "entries").exists()


def test_a_kept_tree_has_the_same_modes_whoever_made_it(
    archive: Pinned, store: Store, tmp_path: Path
) -> None:
    before = os.umask(0o077)
    try:
        lay_out(archive, store, tmp_path / "first")
    finally:
        os.umask(before)
    lay_out(archive, store, tmp_path / "second")
    assert stat.S_IMODE((tmp_path / "second" / "x" / "sub").stat().st_mode) == 0o755


@pytest.mark.parametrize("said", ["No space left on device", "Disk quota exceeded"])
def test_a_full_disk_is_called_so(
    said: str, archive: Pinned, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = process.run

    def full(args: list[str], **given: Any) -> str:
        if args[0] != "tar":
            return run(args, **given)
        raise CommandError(args, 2, f"tar: x: Cannot write: {said}")

    monkeypatch.setattr(process, "run", full)
    with pytest.raises(NoSpaceError, match="no space left"):
        lay_out(archive, store, tmp_path / "x")
