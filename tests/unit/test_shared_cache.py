"""A team's cache: what is taken is what was given, whoever else can write there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.shared_caches import (
    INPUTS,
    TAKEN,
    Team,
    build,
    signed,
)
from toolchain.core import signing
from toolchain.core.errors import UsageError
from toolchain.core.store import Entry, Store, digest_tree, outline
from toolchain.shared_cache import shared_store, trusted_keys


def test_what_one_machine_gives_another_takes_and_builds_nothing(team: Team) -> None:
    first = team.built("giver", share=True)
    assert (team.builds, first.fresh) == (1, True)
    second = team.built("taker")
    assert (team.builds, second.fresh) == (1, False)
    assert (second.key, second.inputs, second.files) == (first.key, first.inputs, first.files)
    assert second.folder != first.folder
    assert digest_tree(second.folder) == digest_tree(first.folder)
    assert outline(second.folder) == outline(first.folder)
    assert [line for line in team.said if line.startswith(TAKEN)]


def test_what_is_there_is_taken_once_and_given_once(team: Team, shared: Path) -> None:
    team.given()
    times = {path: path.stat().st_mtime_ns for path in shared.rglob("*")}
    team.built("giver", share=True)
    team.built("taker", share=True)
    assert {path: path.stat().st_mtime_ns for path in shared.rglob("*")} == times
    team.built("taker")
    assert len(team.said) == 1


def test_nothing_is_given_unless_it_is_asked_for(
    team: Team, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    team.built("one")
    assert list(shared.iterdir()) == []
    monkeypatch.setenv("EDGEWRIGHT_SHARE", "1")
    # what was built before is given too
    team.built("one")
    assert signed(shared).path.is_file()
    assert team.builds == 1


def test_only_what_takes_long_to_make_is_shared(team: Team, shared: Path) -> None:
    store = team.machine("one", share=True)
    for inputs in (
        {"kind": "tree"},
        {"kind": "image"},
        {"step": "compile"},
        {"step": "shards"},
    ):
        store.get_or_build(inputs, build)
    assert list(shared.iterdir()) == []
    long: list[dict[str, object]] = [
        {"kind": "counter"},
        {"step": "convert"},
        {"step": "link"},
        {"step": "tuned qat"},
    ]
    for one in long:
        store.get_or_build(one, build)
    assert len(list((shared / "entries").glob("*/*"))) == len(long)


def test_a_block_that_fills_a_folder_gets_what_the_cache_has(team: Team) -> None:
    given = team.given()
    with team.machine("taker").entry_or_folder(INPUTS) as found:
        assert isinstance(found, Entry)
        assert found.files == given.files


def test_what_nothing_asks_for_is_given_where_it_is_here(team: Team, shared: Path) -> None:
    team.machine("one").give(INPUTS)
    team.machine("one", share=True).give(INPUTS)
    assert list(shared.iterdir()) == []
    team.built("one")
    team.machine("one", share=True).give(INPUTS)
    team.built("two")
    assert team.builds == 1


def test_what_raised_is_not_given(team: Team, shared: Path) -> None:
    def fail(_: Path) -> None:
        raise KeyboardInterrupt

    store = team.machine("one", share=True)
    with pytest.raises(KeyboardInterrupt):
        store.get_or_build(INPUTS, fail)
    assert list(shared.iterdir()) == []
    assert list((store.root / "tmp").iterdir()) == []


def test_nothing_is_taken_before_a_key_is_trusted(team: Team) -> None:
    team.given()
    trusted_keys.path().unlink()
    assert team.built("taker").fresh
    assert "names no key" in team.said[0]
    assert len(team.said) == 1


@pytest.mark.parametrize("line", ["ssh-rsa AAAA", "ssh-ed25519 AAAA", "x", "-----BEGIN KEY-----"])
def test_a_line_that_is_no_key_is_named(team: Team, line: str) -> None:
    trusted_keys.path().write_text(f"{signing.public_key()}\n{line}\n")
    with pytest.raises(UsageError, match="line 2: no ssh-ed25519 key"):
        team.built("taker")


def test_other_bytes_of_one_key_are_told_and_left(team: Team, shared: Path) -> None:
    team.given()

    def other(folder: Path) -> None:
        build(folder)
        (folder / "more").touch()

    before = signed(shared).path.read_bytes()
    Store(team.folder / "second").get_or_build(INPUTS, other)
    team.built("second", share=True)
    assert "is there with other bytes" in team.said[0]
    assert signed(shared).path.read_bytes() == before


def test_sharing_without_a_cache_or_a_key_is_refused_before_anything_is_made(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWRIGHT_KEYS", str(team.folder / "none"))
    with pytest.raises(UsageError, match="no key to sign with"):
        team.machine("one", share=True)
    monkeypatch.setenv("EDGEWRIGHT_SHARED_CACHE", "")
    with pytest.raises(UsageError, match="no shared cache to give to"):
        shared_store.opened(team.said.append, share=True)
    assert type(shared_store.opened(team.said.append)) is Store
