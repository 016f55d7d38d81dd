"""What links libraries in the cross image, without an engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from toolchain import targets
from toolchain.compile import cross_link
from toolchain.core.errors import BuildError
from toolchain.core.store import Store
from toolchain.images import build, engine
from toolchain.images.build_container import Mount


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


def test_a_network_without_functions_is_linked_from_its_source_in_c(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands: list[list[str]] = []
    folders: list[Path] = []

    class FakeContainer:
        def call(self, command: list[str]) -> None:
            commands.append(command)
            (folders[-1] / "out.so").write_bytes(b"library")

    class FakeEngine:
        @contextmanager
        def container(
            self, _tag: str, *, mounts: list[Mount], **_: object
        ) -> Iterator[FakeContainer]:
            folders.append(Path(mounts[0].source))
            yield FakeContainer()

    monkeypatch.setattr(engine, "Engine", FakeEngine)
    monkeypatch.setattr(build, "build", lambda *_, **__: SimpleNamespace(tag="image"))
    objects = [tmp_path / "devc.o", tmp_path / "lib0.c"]
    for item in objects:
        item.write_text(";")
    linker = cross_link.linker(targets.target("rv64gc"), Store(tmp_path / "store"))
    linker.link(objects, tmp_path / "library.so", lambda _: None)
    (command,) = commands
    assert [Path(part).name for part in command if "/link/" in part][:2] == ["0.o", "1.c"]
    assert (tmp_path / "library.so").read_bytes() == b"library"
