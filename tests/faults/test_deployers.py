"""Deployers at once, some of them killed, are as one after the other."""

from __future__ import annotations

from tests.support.faults.bench import LONG, Bench, say, with_strace
from tests.support.faults.deployers import rounds

pytestmark = with_strace
ROUNDS = 500 if LONG else 4


def test_deployers_at_once_are_as_one_after_the_other(bench: Bench) -> None:
    say("rounds of 2 to 8 deployers", rounds(bench, ROUNDS))
