"""A vendor folder holds the lock's files and nothing else, and builds take them from there."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.support.mirror import Mirror
from toolchain.core.errors import LockError, UsageError
from toolchain.core.store import Store
from toolchain.lock import fetch, vendor
from toolchain.lock.pins import Pinned

CONTENT = b"bytes"


def pinned(content: bytes, path: str = "pool/main/x/x_1.orig.tar.gz", project: str = "") -> Pinned:
    return Pinned(
        origin="pypi" if project else "debian",
        path=path,
        project=project,
        version="1",
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
    )


PINS = [pinned(CONTENT), pinned(b"wheel", "y-1-py3-none-any.whl", "y")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A vendor folder with the files of PINS."""
    kept = tmp_path / "vendor"
    originals = tmp_path / "originals"
    originals.mkdir()
    for pin, content in zip(PINS, (CONTENT, b"wheel"), strict=True):
        (originals / pin.sha256).write_bytes(content)
    vendor.keep(kept, PINS, lambda pin: originals / pin.sha256, lambda _: None)
    return kept


def test_what_was_kept_is_complete(folder: Path) -> None:
    vendor.check(folder, PINS)
    assert (folder / "debian" / PINS[0].path).read_bytes() == CONTENT
    assert (folder / "pypi" / "y" / PINS[1].path).read_bytes() == b"wheel"


def test_keeping_again_copies_nothing_and_drops_what_is_no_more_pinned(folder: Path) -> None:
    def refuse(pin: Pinned) -> Path:
        raise AssertionError(pin.path)

    assert vendor.keep(folder, PINS[:1], refuse, lambda _: None) == 1
    assert not vendor.place(folder, PINS[1]).exists()
    vendor.check(folder, PINS[:1])


def test_a_missing_and_an_extra_file_are_named(folder: Path) -> None:
    vendor.place(folder, PINS[0]).rename(folder / "debian" / "other")
    with pytest.raises(LockError, match="not the lock's") as caught:
        vendor.check(folder, PINS)
    assert caught.value.detail.splitlines() == [
        f"missing: debian/{PINS[0].path}",
        "not in the lock: debian/other",
    ]
    assert "--vendor" in caught.value.resolution


def test_a_truncated_file_is_named(folder: Path) -> None:
    vendor.place(folder, PINS[0]).write_bytes(CONTENT[:-1])
    with pytest.raises(LockError) as caught:
        vendor.check(folder, PINS)
    assert "4 bytes, the lock says 5" in caught.value.detail


@pytest.fixture
def from_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEWRIGHT_VENDOR", str(folder))
    monkeypatch.setattr(vendor, "pins", lambda: PINS)
    return folder


def test_files_come_from_the_folder_and_no_mirror_is_asked(
    from_folder: Path, store: Store, mirror: Mirror
) -> None:
    fetch.fetch_all(PINS, store)
    assert fetch.path_of(PINS[0], store).read_bytes() == CONTENT
    assert mirror.asked == []


def test_other_bytes_of_the_same_size_are_refused(from_folder: Path, store: Store) -> None:
    vendor.place(from_folder, PINS[0]).write_bytes(b"bytez")
    with pytest.raises(LockError, match="match"):
        fetch.fetch_all(PINS[:1], store)
    assert not store.has_blob(PINS[0].sha256, PINS[0].size)


def test_a_damaged_file_is_mended_by_keeping_again(folder: Path, tmp_path: Path) -> None:
    vendor.place(folder, PINS[0]).write_bytes(b"bytez")
    originals = tmp_path / "originals"
    vendor.keep(folder, PINS, lambda pin: originals / pin.sha256, lambda _: None)
    assert vendor.place(folder, PINS[0]).read_bytes() == CONTENT


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "debian" / "pool" / "mine"
    other.parent.mkdir(parents=True)
    other.write_text("mine")
    with pytest.raises(UsageError, match="no vendor folder"):
        vendor.keep(tmp_path, PINS, lambda pin: tmp_path / pin.sha256, lambda _: None)
    assert other.read_text() == "mine"


def test_an_incomplete_folder_is_refused_before_anything_is_taken(
    from_folder: Path, store: Store
) -> None:
    vendor.place(from_folder, PINS[1]).unlink()
    with pytest.raises(LockError, match="not the lock's"):
        fetch.fetch_all(PINS[:1], store)
    assert not store.has_blob(PINS[0].sha256, PINS[0].size)
