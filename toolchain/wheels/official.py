"""Wheels that a project publishes itself: the lock pins them as they are, one a machine and Python.

Nothing here is built or fetched.
"""

from __future__ import annotations

from collections.abc import Collection

from packaging.tags import Tag
from packaging.utils import parse_wheel_filename

from toolchain import targets
from toolchain.lock import pins
from toolchain.targets import Target


def names(project: str, target: Target) -> tuple[str, ...]:
    """The lock's sources that are a project's wheels for a target's machine, sorted.

    Args:
        project: on PyPI.
        target: the devices'.
    """
    return tuple(
        name
        for name, pin in sorted(pins.sources().items())
        if pin.project == project and _is_for(target.machine, _tags(pin.file_name))
    )


def none_for(project: str, target: Target, built: Collection[str] = ()) -> str:
    """Why nothing of a project can be installed on a target; empty when something can.

    Args:
        project: on PyPI.
        target: the devices'.
        built: machines for which a wheel of it is built here.
    """

    def has(one: Target) -> bool:
        return one.machine in built or names(project, one) != ()

    if has(target):
        return ""
    others = [one.name for one in targets.all_targets().values() if has(one)]
    return (
        f"{project} has no wheel for {target.name}; it has them for {', '.join(others) or 'none'}"
    )


def _tags(file_name: str) -> frozenset[Tag]:
    return parse_wheel_filename(file_name)[3] if file_name.endswith(".whl") else frozenset()


def _is_for(machine: str, tags: frozenset[Tag]) -> bool:
    return any(tag.platform.endswith(f"_{machine}") for tag in tags)
