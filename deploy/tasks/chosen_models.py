"""What tasks that make a bundle choose for it, and a line for what the user should know of it."""

from __future__ import annotations

from collections.abc import Sequence

from toolchain.bundle import compiled_models, wheels
from toolchain.bundle.choice import Choice, narrowed
from toolchain.commandline import console
from toolchain.models.manifest import ModelManifest
from toolchain.targets import Target


def chosen(
    target: Target, names: Sequence[str], wanted: Choice, *, as_published: bool
) -> list[ModelManifest]:
    """The manifests that a bundle for a target is made of.

    Args:
        target: the devices'.
        names: of models; every model when empty.
        wanted: of each.
        as_published: whether wheels are taken as projects publish them.

    Raises:
        UsageError: there is no such model for the target, or nothing is left of one.
        ModelError: a manifest can't be used.
    """
    there = compiled_models.chosen(target, names, wanted.runtimes)
    sent = narrowed(there, target, wanted, console.note)
    for line in wheels.published_in_words(target, sent) if as_published else ():
        console.note(line)
    return sent
