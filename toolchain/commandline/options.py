"""What options of tasks mean: lists, numbers, and the options that several tasks share.

Shared options are the fields of a dataclass: a task that is `given` one has them all, and its body
takes them as one argument.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Self

from invoke.exceptions import Exit

from toolchain.core.errors import UsageError

INVENTORY = "inventory.yml"
DEFAULT_TARGET = "rv64gc"
JSON = "print JSON instead of a table"
TARGET = "name of a target, or of a board such as pi5 (docs/reference/targets.md)"
WHEELS = (
    "official takes the wheels that projects publish on PyPI, where there are any; built, those "
    "that are built here"
)
SHARE = "give what is made, or found here, to the shared cache (docs/how-to/shared-cache.md)"
ON = (
    "a Dask scheduler whose workers do it, such as tcp://scheduler:8786; DASK_SCHEDULER_ADDRESS "
    "when left out, and this machine without either (docs/how-to/cluster.md)"
)
OS = "system of the device, such as debian12; the target's usual one when left out"
HOST = "name of a device in the inventory"
INVENTORY_HELP = "the inventory file"
HOST_HELP = {"host": HOST, "inventory": INVENTORY_HELP, "json": JSON}


class Amount(float):
    """An option's number above zero; invoke makes one of what was typed.

    Raises:
        Exit: it is none.
    """

    expected = "a number above 0"
    unit = ""  # may stand behind the number

    def __new__(cls, typed: object) -> Self:
        """The number in a text, or a number that is one already."""
        try:
            number = float(str(typed).removesuffix(cls.unit))
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and cls.allows(number)):
            raise _refused(f"{cls.expected} is expected, not {typed}", typed)
        return super().__new__(cls, number)

    @classmethod
    def allows(cls, number: float) -> bool:
        """Whether an option may be that."""
        return number > 0


class Limit(Amount):
    """An amount that may be left out: 0, the default, is no limit."""

    expected = "a number, 0 or more,"

    @classmethod
    def allows(cls, number: float) -> bool:
        """Whether an option may be that."""
        return number >= 0


class LimitMs(Limit):
    """A limit in milliseconds, which may be typed with their unit: 20, or 20ms."""

    expected = "a number of milliseconds, 0 or more,"
    unit = "ms"


class Whole(int):
    """An option's whole number, 0 or more; invoke makes one of what was typed.

    Raises:
        Exit: it is none.
    """

    def __new__(cls, typed: object) -> Self:
        """The number in a text, or a number that is one already."""
        if not str(typed).isdecimal():
            raise _refused(f"a whole number, 0 or more, is expected, not {typed}", typed)
        return super().__new__(cls, str(typed))


def _refused(what: str, typed: object) -> Exit:
    option = _given_as(str(typed))
    said = (
        f"error: {option}{': ' if option else ''}{what}\n"
        "what to do: --help after the task's name lists what its options take"
    )
    return Exit(said, code=UsageError.exit_code)


def _given_as(typed: str) -> str:
    """The option that was typed with a value; empty when none was.

    invoke is still reading the command line, and doesn't say which option it is at.
    """
    for before, word in itertools.pairwise(sys.argv):
        name, equals, value = word.partition("=")
        if word == typed and before.startswith("-"):
            return before
        if equals and value == typed and name.startswith("-"):
            return name
    return ""


def required(option: str, value: str, example: str) -> str:
    """A value that a task can't do without.

    Raises:
        UsageError: it was not given.
    """
    if not value:
        raise UsageError(f"--{option} is missing", resolution=f"for example: --{option} {example}")
    return value


def option(default: Any, said: str) -> Any:
    """A field that is an option of tasks: its default and its help."""
    return field(default=default, metadata={"help": said})


@dataclass(frozen=True, kw_only=True)
class Models:
    """Which models, of what, in which forms."""

    model: str = option(
        "",
        "names from the catalogue, or files of yours, separated by commas; a name for --model-file",
    )
    model_file: str = option("", "a model file of yours, or a SavedModel folder")
    weights: str = option(
        "", "file with the weights of a catalogue model; without it they are drawn"
    )
    batch: str = option("1", "batch sizes, separated by commas")
    shape: str = option(
        "",
        "sizes of inputs whose sizes are open: images=1x3x640x640,mask=1x640, or 1x3x640x640; an "
        "input's sizes again begin the network's next shape",
    )
    signature: str = option("", "which function of a SavedModel with several")
    variant: str = option(
        "fp32",
        "forms, separated by commas, or all: fp32, float16, dynamic, int8, int16x8, qat, "
        "pruned, clustered",
    )


@dataclass(frozen=True, kw_only=True)
class Devices:
    """Which devices of which inventory."""

    host: str = option("", "names of devices in the inventory, separated by commas")
    group: str = option("", "groups of the inventory, separated by commas; with or without --host")
    limit: str = option(
        "", "only those of them: names, groups or patterns; `!` before one leaves it out"
    )
    inventory: str = option(INVENTORY, INVENTORY_HELP)


def _no_inventory(asked: Devices) -> str:
    raise UsageError(f"no inventory is read here, so nothing is known of {asked.host}")


# how the target of devices is found; the inventory is read by who puts the tasks together
target_of_devices: Callable[[Devices], str] = _no_inventory
# the target that a name stands for, which may be a board's; known to who puts the tasks together
target_named: Callable[[str], str] = str


@dataclass(frozen=True, kw_only=True)
class Board:
    """What something is made for: a target, or devices whose inventory entries have it."""

    target: str = option("", f"{TARGET}; that of --host, or {DEFAULT_TARGET}, when left out")
    host: str = option("", "names of devices of one target, instead of --target")
    inventory: str = option(INVENTORY, INVENTORY_HELP)

    def name(self) -> str:
        """The target's name.

        Raises:
            UsageError: a target and a device of another were given, or devices of several targets.
            InventoryError: the inventory can't be read, or a device can't be used.
        """
        asked = target_named(self.target)
        if not self.host:
            return asked or DEFAULT_TARGET
        found = target_of_devices(Devices(host=self.host, inventory=self.inventory))
        if asked not in ("", found):
            raise UsageError(
                f"{self.host} is of target {found}, not {self.target}",
                resolution="leave out --host or --target",
            )
        return found


@dataclass(frozen=True, kw_only=True)
class Fleet(Devices):
    """Devices, and how many are worked on at once and how long."""

    parallel: int = option(Whole(10), "devices at once")
    step_limit: float = option(Amount(1000), "seconds in which a device must come to its next step")


@dataclass(frozen=True, kw_only=True)
class OrderedFleet(Fleet):
    """A fleet that is changed, and when that ends early."""

    canary: int = option(Whole(0), "devices that go first; the others only when these are done")
    max_failures: int = option(
        Whole(0), "begin no other device after so many that failed; 0 is never"
    )


def help_of(kind: type[Any]) -> dict[str, str]:
    """The help of shared options, as invoke takes it."""
    return {f.name.replace("_", "-"): f.metadata["help"] for f in fields(kind)}


def given(**shared: type[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a task shared options, where its body has an argument for all of them.

    Args:
        shared: the dataclass of each such argument.
    """

    def decorate(body: Callable[..., None]) -> Callable[..., None]:
        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(body).parameters.values():
            here = shared.get(parameter.name)
            options = (
                [parameter]
                if here is None
                else [
                    inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default)
                    for f in fields(here)
                ]
            )
            parameters += options

        @functools.wraps(body)
        def wrapper(*args: object, **said: object) -> None:
            for name, kind in shared.items():
                said[name] = kind(
                    **{f.name: said.pop(f.name) for f in fields(kind) if f.name in said}
                )
            body(*args, **said)

        # what invoke makes the flags of
        vars(wrapper)["__signature__"] = inspect.Signature(parameters)
        return wrapper

    return decorate


def names(text: str) -> list[str]:
    """The parts of a list separated by commas, without blanks."""
    return [part.strip() for part in text.split(",") if part.strip()]


def numbers(option: str, text: str) -> list[int]:
    """The whole numbers of a list separated by commas.

    Raises:
        UsageError: a part is no whole number; the error names the option.
    """
    try:
        return [int(part) for part in names(text)]
    except ValueError as error:
        raise UsageError(
            f"--{option} takes whole numbers separated by commas, not {text!r}",
            resolution=f"for example: --{option} 1,2,4",
        ) from error
