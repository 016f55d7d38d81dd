"""A disk that refuses, once or for good, and one whose bits flip."""

from __future__ import annotations

from collections import Counter

from tests.support.faults.bench import LONG, OPERATIONS, Bench, say, with_strace
from tests.support.faults.disk_errors import errors, flipped_bits

pytestmark = with_strace
NAMES = OPERATIONS if LONG else ("deploy",)


def told(what: str, counts: Counter[str]) -> None:
    each = ", ".join(f"{error} {count}" for error, count in counts.items())
    say(f"{what} ({each})", counts.total())


def test_a_disk_that_refuses_once_is_told_and_harms_nothing(bench: Bench) -> None:
    told("disk errors", errors(bench, 1, "", NAMES))


def test_a_disk_that_refuses_for_good_is_told_and_harms_nothing(bench: Bench) -> None:
    told("disk errors for good", errors(bench, 1 if LONG else 6, "+", NAMES))


def test_a_flipped_bit_never_runs(bench: Bench) -> None:
    say("flipped bits", flipped_bits(bench))
