"""What links libraries in the cross image, without an engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from toolchain import targets
from toolchain.compile import cross_link
from toolchain.core.errors import BuildError
from toolchain.core.store import Store
from toolchain.images import build, engine


def test_the_image_is_built_in_sight_of_the_compilation_that_waits_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def built(*_: object, progress: Callable[[str], None]) -> None:
        progress("installing packages")
        raise BuildError("no image")

    monkeypatch.setattr(engine, "Engine", object)
    monkeypatch.setattr(build, "build", built)
    told: list[str] = []
    linker = cross_link.linker(targets.target("rv64gc"), Store(tmp_path))
    with pytest.raises(BuildError, match="no image"):
        linker.link([], tmp_path / "out.so", told.append)
    assert told == ["installing packages"]
