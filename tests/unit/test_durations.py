"""How long a wheel takes: told by earlier builds, else by ours, and never in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolchain.core.store import Store
from toolchain.wheels import build
from toolchain.workstation import durations


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    return Store(tmp_path)


def test_every_recipe_of_ours_has_a_usual_time() -> None:
    assert set(durations.USUAL) == set(build.recipes())


def test_more_cores_take_less(store: Store) -> None:
    assert durations.expected(["onnxruntime"], store, cores=2) == "about 60 minutes"
    assert durations.expected(["onnxruntime"], store) == "about 30 minutes"
    assert durations.expected(["tvm_ffi"], store) == "about a minute"


def test_what_this_machine_took_counts_first_and_the_longest_of_it(store: Store) -> None:
    durations.record("ncnn", 600, store)
    durations.record("ncnn", 60, store)
    durations.record("ncnn", 0, store)
    assert durations.expected(["ncnn"], store) == "about 10 minutes"


def test_what_a_cache_had_says_nothing_of_a_build(store: Store) -> None:
    durations.record("onnxruntime", 30, store)
    assert durations.expected(["onnxruntime"], store) == "about 30 minutes"


def test_a_wheel_of_a_user_is_known_once_it_was_built(store: Store) -> None:
    assert durations.expected(["theirs"], store) == ""
    assert durations.expected(["ncnn", "theirs"], store) == (
        "about 3 minutes, and more for those that were never built here"
    )
    durations.record("theirs", 300, store)
    assert durations.expected(["theirs"], store) == "about 5 minutes"


@pytest.mark.parametrize("content", [b"", b"[]", b'{"ncnn": "long"}', b"\xff"])
def test_a_file_that_is_none_is_as_none(store: Store, content: bytes) -> None:
    (store.root / durations.FILE).parent.mkdir(exist_ok=True)
    (store.root / durations.FILE).write_bytes(content)
    assert durations.expected(["ncnn"], store) == "about 3 minutes"
    durations.record("ncnn", 600, store)
    assert durations.expected(["ncnn"], store) == "about 10 minutes"


def test_minutes_are_those_of_all_that_is_known(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert durations.minutes(["tvm_ffi", "tvm_runtime"], store, 2) == (214 + 254) / 120
    assert durations.minutes(["mine"], store, 2) == 0
