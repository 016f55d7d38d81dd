"""Options that tasks share: each is written once, has its flag in every task, and its help."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from invoke import Argument, Context, task
from invoke.exceptions import Exit

import tasks
from toolchain.commandline import options
from toolchain.commandline.options import Devices, Fleet, OrderedFleet
from toolchain.core.errors import UsageError

PLACE = {"host": "a", "group": "", "limit": "", "inventory": "i.yml"}


def test_a_task_takes_shared_options_as_one_and_its_own_as_they_are() -> None:
    heard: list[tuple[Devices, int]] = []

    @options.given(asked=Devices)
    def body(_: Context, own: int = 1, *, asked: Devices) -> None:
        heard.append((asked, own))

    found = task(help=options.help_of(Devices) | {"own": "its own"})(body)
    assert [a.name for a in found.get_arguments()] == ["own", *PLACE]
    found(Context(), own=2, **PLACE)
    found(Context(), host="b")
    assert heard == [(Devices(**PLACE), 2), (Devices(host="b"), 1)]
    with pytest.raises(TypeError, match="parallel"):
        found(Context(), parallel=3)


@functools.cache
def arguments(name: str) -> list[Argument]:
    """A task's own; invoke gives their help away once."""
    found: list[Argument] = tasks.ns[name].get_arguments()
    return found


def test_every_option_of_every_task_has_help() -> None:
    for name in tasks.ns.task_names:
        for argument in arguments(name):
            assert argument.help, f"{name} --{argument.name}"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("probe", Fleet), ("releases", Fleet), ("keys", Fleet), ("tune", Devices)]
    + [("deploy", OrderedFleet), ("rollback", OrderedFleet)],
)
def test_a_task_on_devices_has_the_options_of_all_such(name: str, kind: type[Devices]) -> None:
    flags = {a.name: a.default for a in arguments(name)}
    assert vars(kind()).items() <= flags.items()


@pytest.mark.parametrize(
    ("kind", "typed"),
    [
        *((options.Amount, typed) for typed in ("0", "-3", "abc", "nan", "inf", "")),
        *((options.Limit, typed) for typed in ("-1", "abc", "20ms")),
        *((options.LimitMs, typed) for typed in ("-1ms", "20s", "ms")),
        *((options.Whole, typed) for typed in ("-1", "1.5", "abc", "")),
    ],
)
def test_a_number_that_is_none_is_one_line_and_not_a_traceback(kind: Any, typed: str) -> None:
    with pytest.raises(Exit, match="is expected") as caught:
        kind(typed)
    assert caught.value.code == UsageError.exit_code


@pytest.mark.parametrize("typed", [["--budget", "-3"], ["--budget=-3"], ["-b", "-3"]])
def test_a_number_that_is_none_names_its_option(
    typed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["invoke", "bench", "--host", "a", *typed])
    with pytest.raises(Exit, match=rf"^error: {typed[0].partition('=')[0]}: a number above 0"):
        options.Amount("-3")


def test_a_number_is_taken_as_it_was_typed() -> None:
    assert options.LimitMs("20ms") == options.LimitMs("20") == 20.0
    assert (options.Amount("2.5"), options.Limit("0"), options.Whole("4")) == (2.5, 0.0, 4)


def test_what_a_task_cannot_do_without_is_asked_for_by_its_option() -> None:
    assert options.required("data", "folder", "digits") == "folder"
    with pytest.raises(UsageError, match="--data is missing"):
        options.required("data", "", "digits")
