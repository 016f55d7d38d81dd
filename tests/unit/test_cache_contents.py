"""What the cache holds, and what of it may go."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from filelock import FileLock

from toolchain.core.store import Store, digest_of
from toolchain.workstation import cache_contents

WHEEL, MODEL = {"kind": "wheel", "name": "tiny"}, {"onnx": "a", "recipe": "b"}


def filled(tmp_path: Path) -> Store:
    store = Store(tmp_path / "cache")
    for inputs in (WHEEL, MODEL):
        store.get_or_build(inputs, lambda folder: void(folder / "big"))
    fetched = store.root / "blobs" / "aa" / "aa11"
    fetched.parent.mkdir(parents=True)
    void(fetched)
    return store


def void(path: Path) -> None:
    path.write_bytes(b"x" * 100_000)


def last_read(store: Store, inputs: dict[str, str], days: float) -> None:
    then = time.time() - days * cache_contents.DAY
    for path in store.root.glob(f"entries/*/{digest_of(inputs)}/*"):
        os.utime(path, (then, then))


def shown(store: Store, days: float) -> dict[str, tuple[int, bool]]:
    parts = cache_contents.contents(store, days)
    assert all(part.size >= 100_000 for part in parts)
    return {part.what: (part.count, part.unused >= 100_000) for part in parts}


def test_the_cache_is_shown_by_what_it_holds(tmp_path: Path) -> None:
    store = filled(tmp_path)
    last_read(store, WHEEL, 10)
    assert shown(store, 5) == {
        "wheels": (1, True),
        "converted and compiled models": (1, False),
        "fetched files": (1, False),
    }
    assert not shown(store, 20)["wheels"][1]
    assert cache_contents.contents(Store(tmp_path / "none"), 1) == []


def test_what_is_mounted_there_or_gone_meanwhile_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(tmp_path)
    for name in ("proc/1/cwd", "root/gone", "root/kept"):
        path = store.root / "tmp" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        void(path)
    usual = os.lstat

    def looked_at(path: Path | str) -> os.stat_result:
        found = usual(path)
        if Path(path).name in ("cwd", "gone"):
            raise PermissionError(path)
        if Path(path).name == "proc":
            return os.stat_result([*found[:2], found.st_dev + 1, *found[3:]])
        return found

    monkeypatch.setattr(os, "lstat", looked_at)
    assert shown(store, 5)["under way"] == (1, False)


def test_what_was_not_read_for_so_long_is_removed_and_nothing_else(tmp_path: Path) -> None:
    store = filled(tmp_path)
    last_read(store, WHEEL, 10)
    assert cache_contents.remove(store, 20) == 0
    assert cache_contents.remove(store, 5) >= 100_000
    assert store.entry(digest_of(WHEEL)) is None
    assert store.entry(digest_of(MODEL)) is not None
    assert (store.root / "blobs" / "aa" / "aa11").exists(), "a mirror may not have it any more"
    assert list((store.root / "tmp").iterdir()) == []


def test_a_use_counts_although_it_changes_nothing(tmp_path: Path) -> None:
    store = filled(tmp_path)
    last_read(store, WHEEL, 10)
    (big,) = store.root.glob(f"entries/*/{digest_of(WHEEL)}/big")
    os.utime(big, (time.time(), big.stat().st_mtime))
    assert cache_contents.remove(store, 5) == 0


def test_what_is_being_built_stays(tmp_path: Path) -> None:
    store = filled(tmp_path)
    last_read(store, WHEEL, 10)
    with FileLock(store.root / "locks" / f"{digest_of(WHEEL)}.lock"):
        assert cache_contents.remove(store, 5) == 0
    assert store.entry(digest_of(WHEEL)) is not None
