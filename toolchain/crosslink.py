"""Link a model's object file into a library for a target, with the cross g++ in the cross image."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from toolchain import images, imagespec
from toolchain.box import Mount
from toolchain.compile import Linker
from toolchain.store import Store, digest_of
from toolchain.targets import Target

IN_BOX = "/edgewright/link"
# No id, no path: the library's bytes are those of its objects.
FLAGS = ("-shared", "-fPIC", "-O2", "-Wl,--build-id=none", "-Wl,--gc-sections", "-s")


def linker(target: Target, store: Store, progress: Callable[[str], None]) -> Linker:
    """What links objects for a target.

    The image is built, and an engine needed, only when it first links. It raises EngineError when
    no engine answers and BuildError when the linker refuses.
    """
    spec = imagespec.spec("cross", target)
    tag: str | None = None
    known = ""

    def image() -> str:
        nonlocal known
        known = known or images.known_id(spec, store) or ""
        return known

    def link(objects: list[Path], output: Path) -> None:
        from toolchain.engine import Engine  # takes a quarter of a second

        nonlocal tag
        engine = Engine()
        if tag is None:
            tag = images.build(spec, engine, store, progress=progress).tag
        with store.scratch() as scratch:
            for number, item in enumerate(objects):
                shutil.copyfile(item, scratch / f"{number}.o")
            names = [f"{IN_BOX}/{number}.o" for number in range(len(objects))]
            mounts = [Mount(source=scratch, target=IN_BOX)]
            user = f"{os.getuid()}:{os.getgid()}"
            with engine.container(tag, mounts=mounts, user=user) as box:
                compiler = f"{target.triple}-g++"
                box.call(
                    [compiler, *target.cflags, *FLAGS, *names, "-o", f"{IN_BOX}/out.so"],
                )
            shutil.move(scratch / "out.so", output)

    identity = digest_of([images.key_of(spec), target.triple, target.cflags, FLAGS])
    return Linker(identity=identity, link=link, image=image)
