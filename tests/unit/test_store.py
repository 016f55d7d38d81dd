"""The store gives back what was put in, or nothing."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from toolchain.core.errors import LockError, NoSpaceError
from toolchain.core.store import MANIFEST, Entry, Store, digest_file, digest_of, explain_no_space

KEY = "ab" + "0" * 62


def fill(store: Store, content: str = "payload") -> None:
    with store.building(KEY, {"made": "of this"}) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "file").write_text(content)


def leftovers(store: Store) -> list[Path]:
    return list((store.root / "tmp").iterdir())


def test_an_entry_comes_back_with_its_inputs_and_files(store: Store) -> None:
    fill(store)
    entry = store.entry(KEY)
    assert entry is not None
    assert entry.inputs == {"made": "of this"}
    assert entry.file("sub/file").read_text() == "payload"


def test_an_entry_that_was_never_built_is_none(store: Store) -> None:
    assert store.entry(KEY) is None


@pytest.mark.parametrize("damage", ["flip", "remove", "add", "manifest", "manifest-gone"])
def test_a_damaged_entry_is_removed_and_can_be_built_again(store: Store, damage: str) -> None:
    fill(store)
    entry = store.entry(KEY)
    assert entry is not None
    if damage == "flip":
        (entry.folder / "sub" / "file").write_text("Payload")
    elif damage == "remove":
        (entry.folder / "sub" / "file").unlink()
    elif damage == "add":
        (entry.folder / "stray").touch()
    elif damage == "manifest":
        (entry.folder / "entry.json").write_text("{")
    else:
        (entry.folder / "entry.json").unlink()
    assert store.entry(KEY) is None
    fill(store, "again")
    rebuilt = store.entry(KEY)
    assert rebuilt is not None
    assert rebuilt.file("sub/file").read_text() == "again"


@pytest.mark.parametrize("damage", ["retarget", "mode", "folder gone", "folder added", "no file"])
def test_a_link_a_mode_or_an_empty_folder_that_changed_is_seen(store: Store, damage: str) -> None:
    with store.building(KEY, {}) as folder:
        (folder / "empty").mkdir()
        (folder / "program").write_text("#!/bin/sh")
        (folder / "program").chmod(0o755)
        (folder / "link").symlink_to("program")
    entry = store.entry(KEY)
    assert entry is not None
    if damage == "retarget":
        (entry.folder / "link").unlink()
        (entry.folder / "link").symlink_to("/bin/sh")
    elif damage == "mode":
        (entry.folder / "program").chmod(0o777)
    elif damage == "folder gone":
        (entry.folder / "empty").rmdir()
    elif damage == "folder added":
        (entry.folder / "other").mkdir()
    else:
        os.mkfifo(entry.folder / "pipe")
    assert store.entry(KEY) is None
    assert not entry.folder.exists()


def test_an_entry_of_an_earlier_version_is_checked_by_its_files(store: Store) -> None:
    fill(store)
    entry = store.entry(KEY)
    assert entry is not None
    recorded = json.loads((entry.folder / MANIFEST).read_text())
    del recorded["outline"]
    (entry.folder / MANIFEST).write_text(json.dumps(recorded))
    (entry.folder / "sub" / "file").chmod(0o600)
    assert store.entry(KEY) is not None


def test_a_build_that_fails_leaves_nothing(store: Store) -> None:
    def fail() -> None:
        with store.building(KEY, {}) as folder:
            (folder / "half").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert store.entry(KEY) is None
    assert leftovers(store) == []


INPUTS = {"made": "of that"}


def test_what_is_there_is_not_built_again(store: Store) -> None:
    builds: list[Path] = []

    def build(folder: Path) -> None:
        builds.append(folder)
        (folder / "file").write_text("payload")

    first, second = (store.get_or_build(INPUTS, build) for _ in range(2))
    assert len(builds) == 1
    assert (first.fresh, second.fresh) == (True, False)
    assert first == second
    assert first.key == digest_of(INPUTS)
    assert first.file("file").read_text() == "payload"
    first.file("file").write_text("Payload")
    assert store.get_or_build(INPUTS, build).file("file").read_text() == "payload"
    assert len(builds) == 2


def test_of_two_that_want_the_same_one_builds_and_the_other_waits_for_it(store: Store) -> None:
    started, builds = threading.Event(), []

    def build(folder: Path) -> None:
        builds.append(folder)
        started.set()
        time.sleep(0.2)  # the other looks it up, finds nothing, and waits for the lock
        (folder / "file").write_text("payload")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(store.get_or_build, INPUTS, build)
        started.wait()
        second = pool.submit(store.get_or_build, INPUTS, build)
        assert first.result() == second.result()
    assert len(builds) == 1


def test_what_could_not_be_built_is_built_by_the_next(store: Store) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise LockError("no")

    with pytest.raises(LockError):
        store.get_or_build(INPUTS, fail)
    assert leftovers(store) == []
    entry = store.get_or_build(INPUTS, lambda folder: (folder / "whole").touch())
    assert [*entry.files] == ["whole"]


def test_a_part_is_kept_when_the_block_that_made_it_ends_well(store: Store) -> None:
    def use(*, well: bool) -> Entry | Path:
        with store.entry_or_folder(INPUTS) as found:
            if isinstance(found, Path):
                (found / "file").touch()
            if not well:
                raise KeyboardInterrupt
            return found

    with pytest.raises(KeyboardInterrupt):
        use(well=False)
    assert isinstance(use(well=True), Path)
    assert isinstance(use(well=True), Entry)


def test_a_blob_with_other_bytes_is_refused_and_removed(store: Store, tmp_path: Path) -> None:
    fetched = tmp_path / "fetched"
    fetched.write_bytes(b"evil")
    with pytest.raises(LockError, match="don't match the lock"):
        store.add_blob(fetched, "0" * 64)
    assert not fetched.exists()
    assert store.blob("0" * 64) is None


def test_a_blob_that_rots_is_dropped_when_read(store: Store) -> None:
    with store.scratch() as folder:
        (folder / "f").write_bytes(b"good")
        digest = digest_file(folder / "f")
        path = store.add_blob(folder / "f", digest)
    assert store.blob(digest) == path
    path.write_bytes(b"baad")
    assert store.blob(digest) is None
    assert not path.exists()


def test_keys_depend_on_content_and_not_on_order() -> None:
    assert digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": "1"})


def test_a_full_disk_is_an_error_that_says_which(tmp_path: Path) -> None:
    with pytest.raises(NoSpaceError, match="no space") as caught, explain_no_space(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(tmp_path) in caught.value.detail
    assert "EDGEWRIGHT_CACHE" in caught.value.resolution
