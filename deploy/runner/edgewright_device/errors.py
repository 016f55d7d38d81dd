"""What this library raises: one tree, so that a program can catch all of it by its root."""

from __future__ import annotations


class EdgewrightError(Exception):
    """Base of all errors of this library.

    Args:
        brief: one line that says what happened.
        resolution: what to do about it.
    """

    def __init__(self, brief: str, resolution: str = "") -> None:
        super().__init__(f"{brief}; {resolution}" if resolution else brief)
        self.brief = brief
        self.resolution = resolution


class NotDeployedError(EdgewrightError, LookupError):
    """The release holds no such model, or no such form of it."""


class InputError(EdgewrightError, ValueError):
    """What a network was given is not what it takes."""


class MeaningError(EdgewrightError):
    """Nothing in the release says how pictures become inputs, or what outputs mean."""


class RuntimeFailedError(EdgewrightError, RuntimeError):
    """The runtime could not be imported, load the model or run it; what it raised is the cause."""
