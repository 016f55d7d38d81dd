"""A kill at any system call, and one more during recovery: the old or the new release, whole."""

from __future__ import annotations

from tests.support.faults.bench import LONG, Bench, say, with_strace
from tests.support.faults.kills import double_kills, kills, kills_while_going_back

pytestmark = with_strace
DOUBLE = 500 if LONG else 60
SHORT = ("switch back",)


def test_a_kill_at_every_call_leaves_the_old_or_the_new_release(bench: Bench) -> None:
    say("kill points", kills(bench))


def test_a_second_kill_during_recovery_does_no_more_harm(bench: Bench) -> None:
    count = double_kills(bench, DOUBLE)
    say("double kills", count)
    assert count == DOUBLE


def test_a_kill_while_going_back_is_made_good_by_the_next(bench: Bench) -> None:
    count = kills_while_going_back(bench) if LONG else kills_while_going_back(bench, SHORT, 3)
    say("kills while going back", count)
