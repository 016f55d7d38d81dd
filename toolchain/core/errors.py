"""The one exception tree: what happened, the detail, what to do, and an exit code a class.

Every error a user can cause or meet is one of these; tasks.py prints the three parts and exits
with the class's code. Anything else that escapes is a defect.
"""

from __future__ import annotations


class EdgewrightError(Exception):
    """Base of all errors shown to the user.

    Args:
        brief: one line that says what happened.
        detail: what was found: output of the failed step, values seen and expected.
        resolution: what to do about it, as a command where there is one.
    """

    exit_code = 1

    def __init__(self, brief: str, *, detail: str = "", resolution: str = "") -> None:
        super().__init__(brief)
        self.brief = brief
        self.detail = detail
        self.resolution = resolution


class UsageError(EdgewrightError):
    """An argument that names nothing we know: target, model, host, runtime, option value."""

    exit_code = 2


class InventoryError(EdgewrightError):
    """inventory.yml can't be used: syntax, type, unknown or duplicate key, unreadable key file."""

    exit_code = 3


class LockError(EdgewrightError):
    """Bytes that don't match the lock, a lock that can't be read or that no mirror serves."""

    exit_code = 4


class EngineError(EdgewrightError):
    """No Docker engine, one that stopped, or one that refused what was asked."""

    exit_code = 5


class BuildError(EdgewrightError):
    """A step of building an image or a wheel failed, or what it made fails its audit."""

    exit_code = 6


class ModelError(EdgewrightError):
    """A model that can't be read, converted or compiled."""

    exit_code = 7


class ConnectionFailed(EdgewrightError):
    """A device that can't be reached or authenticated, or a link that dropped."""

    exit_code = 8


class HostKeyError(ConnectionFailed):
    """A device whose host key is unknown or changed."""


class DeviceRefused(EdgewrightError):
    """The probe found that the device can't run what was to be sent; nothing was written."""

    exit_code = 9


class ReleaseError(EdgewrightError):
    """A release could not be sent, verified, installed or switched; the old one still runs."""

    exit_code = 10


class OutcomeUnknown(ReleaseError):
    """A device was lost just when it switched; which release it runs could not be found out."""

    exit_code = 13


class FleetError(EdgewrightError):
    """Of several devices, at least one is not as it was asked to be; each one has its result."""

    exit_code = 14


class BenchError(EdgewrightError):
    """A measurement failed on the device, or results can't be read or compared."""

    exit_code = 11


class NoSpaceError(EdgewrightError):
    """A disk of this machine is full."""

    exit_code = 12


class CommandError(EdgewrightError):
    """A local command failed.

    Args:
        args_: the command, a list of arguments.
        returncode: its exit status; negative for a signal.
        output: the tail of what it printed.
    """

    def __init__(self, args_: list[str], returncode: int, output: str) -> None:
        super().__init__(f"{args_[0]} failed with exit status {returncode}", detail=output)
        self.returncode = returncode
        self.output = output
