"""What options of tasks mean: lists, numbers, and the help texts that several tasks share."""

from __future__ import annotations

from toolchain.errors import UsageError

INVENTORY = "inventory.yml"
DEFAULT_TARGET = "rv64gc"
JSON = "print JSON instead of a table"
TARGET = "name of a target in toolchain/targets.toml"
OS = "system of the device, such as debian12; the target's usual one when left out"
HOST = "name of a device in the inventory"
INVENTORY_HELP = "the inventory file"
HOSTS = "names of devices in the inventory, separated by commas"
HOST_HELP = {"host": HOST, "inventory": INVENTORY_HELP, "json": JSON}
FLEET_HELP = {
    "host": HOSTS,
    "group": "groups of the inventory, separated by commas; with or without --host",
    "limit": "only those of them: names, groups or patterns; `!` before one leaves it out",
    "parallel": "devices at once",
    "step-limit": "seconds in which a device must come to its next step",
    "inventory": INVENTORY_HELP,
    "json": JSON,
}
ORDER_HELP = {
    "canary": "devices that go first; the others only when these are done",
    "max-failures": "begin no other device after so many that failed; 0 is never",
}


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
