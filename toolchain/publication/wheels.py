"""Which wheels of a target are published: those that its runtimes need installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from toolchain import runtimes
from toolchain.core.store import Store
from toolchain.lock import fetch, pins
from toolchain.targets import Target
from toolchain.wheels import build


def of_target(target: Target, only: Sequence[str], store: Store, into: Path) -> list[Path]:
    """The files of a target's wheels, built or pinned, as the lock and the recipes now say.

    Args:
        target: what they are for.
        only: recipes; when empty all that the target's runtimes need, and the pinned wheels too,
            but not a runtime that its project publishes itself.
        store: where the pinned ones are, or are fetched to.
        into: a folder of the caller's, where the pinned ones are put under their names.

    Raises:
        BuildError: one is not built.
        UsageError: a recipe is unknown.
        LockError: a pinned one can't be had.
    """
    built = [wheel.path for wheel in build.published(target, only or runtimes.wheels_built(target))]
    if only:
        return built
    needed = [
        one.wheels(target, []).pinned for one in runtimes.serving(target) if not one.makes_artifacts
    ]
    pinned = [pins.source(name) for name in dict.fromkeys(n for names in needed for n in names)]
    for pin in pinned:
        link = into / pin.file_name
        if not link.is_symlink():
            link.symlink_to(fetch.path_of(pin, store))
    return [*built, *(into / pin.file_name for pin in pinned)]
