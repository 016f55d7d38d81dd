"""Link a model's object file into a library for a target, with the cross g++ in the cross image."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolchain.compile.compilation import Linker
from toolchain.core.store import Store, digest_of
from toolchain.images import build, specification
from toolchain.images.build_container import Mount
from toolchain.targets import Target

if TYPE_CHECKING:
    from toolchain.images.container import Container
    from toolchain.images.engine import Engine

IN_CONTAINER = "/edgewright/link"
# No id, no path: the library's bytes are those of its objects.
FLAGS = ("-shared", "-fPIC", "-O2", "-Wl,--build-id=none", "-Wl,--gc-sections", "-s")
# TVM puts its own conversions of float16 into an object, weak ones that take and return it in an
# integer register. Where a CPU has no instruction for it, LLVM's code calls them as the compiler's
# own are called: on riscv64 with a floating-point register. What is given to the linker as an
# object comes before what is weak, and what nothing calls is left out.
WITH_CONVERSIONS = r"""
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
library=$("$1" -print-libgcc-file-name)
for object in $("$0" t "$library" | grep -xE '(extendhfsf2|truncsfhf2)\.o'); do
  "$0" p "$library" "$object" > "$folder/$object"
  set -- "$@" "$folder/$object"
done
"$@"
"""


def linker(target: Target, store: Store) -> Linker:
    """What links objects for a target.

    The image is built, and an engine needed, only when it first links. It raises EngineError when
    no engine answers and BuildError when the linker refuses.
    """
    spec = specification.spec("cross", target)
    tag: str | None = None
    known = ""

    def image() -> str:
        nonlocal known
        known = known or build.known_id(spec, store) or ""
        return known

    def link(objects: list[Path], output: Path, progress: Callable[[str], None]) -> None:
        from toolchain.images.engine import Engine  # takes a quarter of a second

        nonlocal tag
        engine = Engine()
        if tag is None:
            tag = build.build(spec, engine, store, progress=progress).tag
        with store.scratch() as scratch, _container(engine, tag, scratch) as executor:
            names = [f"{number}{item.suffix}" for number, item in enumerate(objects)]
            for name, item in zip(names, objects, strict=True):
                shutil.copyfile(item, scratch / name)
            executor.call(_command(target, names, "out.so"))
            shutil.move(scratch / "out.so", output)

    identity = digest_of([build.key_of(spec), _command(target, [], "")])
    return Linker(identity=identity, link=link, image=image)


@dataclass(frozen=True, kw_only=True)
class ContainerLinker:
    """A container that stays, for many small libraries: any process of ours may link in it.

    Attributes:
        container: its id.
        folder: what it sees: objects and libraries are in it.
    """

    container: str
    folder: Path

    def link(self, target: Target, objects: Sequence[str], output: str) -> None:
        """Link objects of the folder into a library there, all by their names.

        Raises:
            BuildError: the linker refuses.
            EngineError: the engine went away.
        """
        from toolchain.images.engine import Engine

        engine, command = Engine(), _command(target, objects, output)
        if engine.shares_files:
            engine.attach(self.container).call(command)
            return
        for name in objects:
            engine.copy_in(self.container, self.folder / name, IN_CONTAINER)
        engine.attach(self.container).call(command)
        engine.copy_out(self.container, f"{IN_CONTAINER}/{output}", self.folder)


@contextmanager
def container_linker(
    target: Target, store: Store, progress: Callable[[str], None]
) -> Iterator[ContainerLinker]:
    """A container that links for a target, there for as long as the block runs.

    Raises:
        EngineError: no engine answers.
    """
    from toolchain.images.engine import Engine

    engine = Engine()
    tag = build.build(specification.spec("cross", target), engine, store, progress=progress).tag
    with store.scratch() as scratch, _container(engine, tag, scratch) as executor:
        yield ContainerLinker(container=executor.id, folder=scratch)


def _container(engine: Engine, tag: str, folder: Path) -> AbstractContextManager[Container]:
    return engine.container(
        tag,
        mounts=[Mount(source=folder, target=IN_CONTAINER)],
        user=f"{os.getuid()}:{os.getgid()}",
    )


def _command(target: Target, objects: Sequence[str], output: str) -> list[str]:
    files = [f"{IN_CONTAINER}/{name}" for name in objects]
    compiler = f"{target.triple}-g++"
    command = [compiler, *target.cflags, *FLAGS, *files, "-o", f"{IN_CONTAINER}/{output}"]
    return ["sh", "-ec", WITH_CONVERSIONS, f"{target.triple}-ar", *command]
