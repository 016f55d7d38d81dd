"""TVM's compiler from source, run in the image that built it.

What builds it is imported when it is asked for: compiling by the release needs none of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from toolchain import targets
from toolchain.compile.compilation import Compiler, release
from toolchain.core import paths, plugins, worker
from toolchain.core.errors import BuildError, CommandError, UsageError
from toolchain.core.store import Store, digest_of
from toolchain.images import build as images
from toolchain.images import specification
from toolchain.images.build_container import Mount
from toolchain.targets import Target

WHEEL = "tvm_compiler"
# What it is imported with.
WHEELS = (WHEEL, "tvm_ffi")
IN_CONTAINER = "/edgewright"


def by_name(name: str, store: Store, progress: Callable[[str], None]) -> Compiler:
    """The compiler of that name; the other arguments are `from_source`'s.

    Raises:
        UsageError: there is none, or it can't be built for this machine.
    """
    if name == "source":
        return from_source(store, progress)
    if name == "release":
        return release()
    raise UsageError(f"unknown compiler: {name}", resolution="give release or source")


def from_source(store: Store, progress: Callable[[str], None]) -> Compiler:
    """The compiler from source; built when it is first run and not there.

    Args:
        store: the cache.
        progress: called with each step of building it.

    Raises:
        UsageError: it can't be built for this machine.
    """
    from toolchain.wheels import build

    host = targets.of_this_machine()
    made, _ = build.recipe(WHEEL)

    def run(read: Path, fill: Path) -> worker.Run:
        def in_image(request: Path, on_line: Callable[[str], None]) -> None:
            _run(host, store, progress, (read, fill, request), on_line)

        return in_image

    inputs = {name: digest_of(build.inputs(name, host)) for name in WHEELS}
    return Compiler(name="source", version=made.version, identity=inputs, run=run)


def _run(
    host: Target,
    store: Store,
    progress: Callable[[str], None],
    places: tuple[Path, Path, Path],
    on_line: Callable[[str], None],
) -> None:
    from toolchain.images.engine import Engine
    from toolchain.lock import unpack
    from toolchain.wheels import build

    read, fill, request = places
    wheels = [build.build(host, name, store, progress=progress).path for name in WHEELS]
    made, _ = build.recipe(WHEEL)
    engine = Engine()
    image = images.build(specification.spec(made.image, host), engine, store, progress=progress)
    with store.scratch() as scratch:
        for wheel in wheels:
            unpack.unpack_zip(wheel, scratch)
        # the request names files by their places here, so these are the same there
        mounts = [
            Mount(
                source=paths.ROOT / "toolchain",
                target=f"{IN_CONTAINER}/code/toolchain",
                read_only=True,
            ),
            Mount(source=scratch, target=f"{IN_CONTAINER}/tvm", read_only=True),
            Mount(source=read.resolve(), target=str(read), read_only=True),
            Mount(source=fill.resolve(), target=str(fill)),
            Mount(source=request.parent.resolve(), target=str(request.parent)),
            *(Mount(source=p, target=str(p), read_only=True) for p in plugins.named()),
        ]
        user = f"{os.getuid()}:{os.getgid()}"
        env = {
            **worker.FIXED_ENVIRONMENT,
            "PYTHONPATH": f"{IN_CONTAINER}/code:{IN_CONTAINER}/tvm",
            plugins.VARIABLE: os.pathsep.join(str(p) for p in plugins.named()),
        }
        with engine.container(image.tag, mounts=mounts, env=env, user=user) as executor:
            command = ["python3", "-m", "toolchain.core.worker", str(request)]
            try:
                executor.call(command, on_line=on_line)
            except BuildError as error:
                raise CommandError(command, 1, error.detail) from error
