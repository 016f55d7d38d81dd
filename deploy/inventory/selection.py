"""The devices that a task was told, by its options; what each is not strict about is said."""

from __future__ import annotations

from pathlib import Path

from deploy.inventory import reading
from deploy.inventory.reading import Device
from toolchain.core import console, options
from toolchain.core.options import Devices


def devices(asked: Devices) -> list[Device]:
    """The devices of some options.

    Raises:
        UsageError: a name means nothing, none was given, or nothing is left.
        InventoryError: the inventory can't be read, or a device of it can't be used.
    """
    hosts, groups, limits = (options.names(n) for n in (asked.host, asked.group, asked.limit))
    chosen = reading.load(Path(asked.inventory)).select(hosts, groups, limits)
    for device in chosen:
        for line in device.exceptions():
            console.note(line)
    return chosen
