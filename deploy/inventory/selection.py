"""The devices that a task was told, by its options; what is less than usual with them is said."""

from __future__ import annotations

from pathlib import Path

from deploy.inventory import reading
from deploy.inventory.reading import Device
from deploy.ssh import destination
from toolchain.commandline import console, options
from toolchain.commandline.options import Devices
from toolchain.core import paths
from toolchain.core.errors import UsageError


def only(asked: Devices) -> Device:
    """The device of some options, for what is done on one at a time.

    Raises:
        UsageError: they name none, or several.
        InventoryError: the inventory can't be read, or the device can't be used.
    """
    chosen = devices(asked)
    if len(chosen) > 1:
        raise UsageError(
            f"one device at a time, not {len(chosen)}: {', '.join(d.name for d in chosen)}",
            resolution=f"--host {chosen[0].name}, then the same with each other one",
        )
    return chosen[0]


def devices(asked: Devices) -> list[Device]:
    """The devices of some options.

    Raises:
        UsageError: a name means nothing, none was given, or nothing is left.
        InventoryError: the inventory can't be read, or a device of it can't be used.
    """
    hosts, groups, limits = (options.names(n) for n in (asked.host, asked.group, asked.limit))
    chosen = reading.load(file_of(asked.inventory)).select(hosts, groups, limits)
    if not destination.has_ssh():
        console.note(destination.WITHOUT_SSH)
    for device in chosen:
        for line in device.exceptions():
            console.note(line)
    return chosen


def target_of(asked: Devices) -> str:
    """The name of the target of some devices.

    Raises:
        UsageError: they are of several targets, or `devices` finds none.
        InventoryError: the inventory can't be read, or a device of it can't be used.
    """
    chosen = devices(asked)
    if len({device.target for device in chosen}) > 1:
        raise UsageError(
            f"devices of several targets: {', '.join(f'{d.name} {d.target}' for d in chosen)}",
            resolution=f"--host {chosen[0].name}, then the same with each other one",
        )
    return chosen[0].target


def file_of(asked: str) -> Path:
    """The inventory's file: the project's own, where the usual one is asked for from below it.

    Args:
        asked: as --inventory has it.
    """
    path, own = Path(asked), paths.ROOT / options.INVENTORY
    is_below = paths.ROOT in Path.cwd().parents
    return own if asked == options.INVENTORY and is_below and not path.exists() else path
