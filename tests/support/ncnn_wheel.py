"""The wheel of ncnn, for tests that need it: it is built when somebody names it, and taken here."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolchain import targets
from toolchain.core.store import Store, digest_of
from toolchain.wheels import build

RECIPE = "ncnn"
TARGET = targets.target("rv64gc")


def wheel() -> Path | None:
    """The wheel, when the cache has it."""
    entry = Store().entry(digest_of(build.inputs(RECIPE, TARGET)))
    if entry is None:
        return None
    return next(entry.file(name) for name in entry.files if name.endswith(".whl"))


NEEDED = pytest.mark.skipif(
    wheel() is None,
    reason="it takes minutes to build: invoke build-wheels --target rv64gc --only ncnn",
)
