"""A fleet gone through: order, limits, results; the work here is a function, not a deployment."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from deploy.inventory import reading
from deploy.inventory.reading import Device
from deploy.release import fleet
from deploy.release.fleet import Attempt, Done, Limits, Status, Work
from toolchain.core.errors import (
    ConnectionFailed,
    DeviceRefused,
    HostKeyError,
    OutcomeUnknown,
    ReleaseError,
    UsageError,
)


def devices(*names: str) -> list[Device]:
    return [Device(name=n, host=n, target="rv64gc") for n in names]


def go(work: Work[object], names: str, **limits: Any) -> dict[str, Status]:
    found = fleet.run(
        devices(*names),
        work,
        limits=Limits(**limits),
        show=lambda *_: None,
    )
    assert [r.host for r in found] == list(names)
    return {r.host: r.status for r in found}


def test_each_device_has_a_result_of_its_own() -> None:
    errors = {
        "b": DeviceRefused("no"), "c": ReleaseError("no"), "d": ConnectionFailed("no"),
        "e": HostKeyError("no"), "f": OutcomeUnknown("no"), "g": ValueError("a defect"),
    }  # fmt: skip

    def work(attempt: Attempt) -> Done[object]:
        if attempt.device.name in errors:
            raise errors[attempt.device.name]
        return Done(1, "unchanged" if attempt.device.name == "h" else "done")

    assert go(work, "abcdefgh") == {
        "a": "done", "b": "refused", "c": "failed", "d": "failed", "e": "refused", "f": "unknown",
        "g": "failed", "h": "unchanged",
    }  # fmt: skip


def test_no_more_than_the_cap_work_at_once() -> None:
    guard, now, most = threading.Lock(), 0, 0

    def work(attempt: Attempt) -> Done[object]:
        nonlocal now, most
        with guard:
            now += 1
            most = max(most, now)
        time.sleep(0.02)
        with guard:
            now -= 1
        return Done(None)

    assert set(go(work, "abcdefghijkl", parallel=3).values()) == {"done"}
    assert most == 3


def test_the_canary_goes_first_and_its_failure_spares_the_rest() -> None:
    begun: list[str] = []

    def work(attempt: Attempt) -> Done[object]:
        begun.append(attempt.device.name)
        raise ReleaseError("no")

    assert go(work, "abcd", canary=1) == {
        "a": "failed", "b": "skipped", "c": "skipped", "d": "skipped",
    }  # fmt: skip
    assert begun == ["a"]


def test_a_good_canary_lets_the_rest_begin_after_it() -> None:
    ended: list[str] = []

    def work(attempt: Attempt) -> Done[object]:
        assert attempt.device.name == "a" or "a" in ended
        time.sleep(0.02)
        ended.append(attempt.device.name)
        return Done(None)

    assert set(go(work, "abcd", canary=1).values()) == {"done"}


def test_after_so_many_failures_no_other_device_is_begun() -> None:
    def work(attempt: Attempt) -> Done[object]:
        raise ReleaseError("no")

    found = go(work, "abcdef", parallel=1, failures=2)
    assert list(found.values()) == ["failed", "failed", *["skipped"] * 4]


def test_a_device_that_stands_still_costs_only_itself() -> None:
    release = threading.Event()

    def work(attempt: Attempt) -> Done[object]:
        if attempt.device.name == "b":
            release.wait(60)
        return Done(None)

    found = go(work, "abc", parallel=1, step=0.3)
    release.set()
    assert found == {"a": "done", "b": "failed", "c": "done"}


def test_one_that_goes_on_step_by_step_is_let_be() -> None:
    def work(attempt: Attempt) -> Done[object]:
        for number in range(8):
            attempt.say(f"step {number}")
            time.sleep(0.2)
        return Done(None)

    assert go(work, "a", step=1.0) == {"a": "done"}


def test_one_that_was_given_up_begins_no_further_step() -> None:
    after: list[str] = []
    ended = threading.Event()

    def work(attempt: Attempt) -> Done[object]:
        time.sleep(1.0)
        try:
            attempt.say("the next step")
            after.append("went on")
        finally:
            ended.set()
        return Done(None)

    assert go(work, "a", step=0.2) == {"a": "failed"}
    assert ended.wait(10)
    assert after == []


@pytest.mark.parametrize("wrong", [{"parallel": 0}, {"step": 0}, {"canary": -1}, {"failures": -1}])
def test_a_limit_that_makes_no_sense_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        Limits(**wrong)


@pytest.fixture
def shelf(tmp_path: Path) -> reading.Inventory:
    path = tmp_path / "inventory.yml"
    path.write_text(
        "all:\n  vars: {edgewright: {target: rv64gc}}\n  hosts: {desk: {}, web1: {}, web2: {}}\n"
        "  children:\n    boards: {hosts: {one: {}, two: {}}}\n    none: {}\n"
    )
    return reading.load(path)


@pytest.mark.parametrize(
    ("hosts", "groups", "limit", "expected"),
    [
        (["two", "desk", "two"], [], [], ["two", "desk"]),
        (["desk"], ["boards"], [], ["desk", "one", "two"]),
        ([], ["all"], ["!boards"], ["desk", "web1", "web2"]),
        ([], ["all"], ["web*", "one"], ["web1", "web2", "one"]),
        ([], ["all"], ["boards", "!one"], ["two"]),
    ],
)
def test_devices_are_chosen_by_host_group_and_limit(
    shelf: reading.Inventory,
    hosts: list[str],
    groups: list[str],
    limit: list[str],
    expected: list[str],
) -> None:
    assert [d.name for d in shelf.select(hosts, groups, limit)] == expected


@pytest.mark.parametrize(
    ("hosts", "groups", "limit", "words"),
    [
        ([], [], [], "neither a host nor a group"),
        ([], ["none"], [], "neither a host nor a group"),
        (["dekk"], [], [], "unknown host: dekk"),
        ([], ["bords"], [], "unknown group: bords"),
        (["desk"], [], ["bord*"], "unknown host or group"),
        (["desk"], [], ["boards"], "leaves none"),
        (["desk"], [], ["!desk"], "leaves none"),
    ],
)
def test_a_choice_that_means_nothing_is_an_error(
    shelf: reading.Inventory, hosts: list[str], groups: list[str], limit: list[str], words: str
) -> None:
    with pytest.raises(UsageError, match=words.replace("*", r"\*")):
        shelf.select(hosts, groups, limit)
