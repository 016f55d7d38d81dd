"""Link a model's object file into a library for a target, with the cross g++ in the cross image."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from toolchain import images, imagespec
from toolchain.engine import Engine, Mount
from toolchain.store import Store, digest_of
from toolchain.targets import Target

IN_BOX = "/edgewright/link"
# No id, no path: the library's bytes are those of its objects.
FLAGS = ("-shared", "-fPIC", "-O2", "-Wl,--build-id=none", "-Wl,--gc-sections", "-s")

Link = Callable[[list[Path], Path], None]


def identity(target: Target) -> str:
    """The hash of what links: image, flags, triple."""
    image = images.key_of(imagespec.spec("cross", target))
    return digest_of([image, target.triple, target.cflags, FLAGS])


def linker(target: Target, store: Store, progress: Callable[[str], None]) -> Link:
    """A function that links objects for a target.

    The image is built, and an engine needed, only when it is first called. It raises EngineError
    when no engine answers and BuildError when the linker refuses.
    """
    tag: str | None = None

    def link(objects: list[Path], output: Path) -> None:
        nonlocal tag
        engine = Engine()
        if tag is None:
            spec = imagespec.spec("cross", target)
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

    return link
