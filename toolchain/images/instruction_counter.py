"""An emulator that counts: qemu-user with a plugin of ours, as a folder to copy into a device.

An emulated device has no such emulator and needs none installed: this machine's kernel runs the one
of the folder, with the libraries beside it, in the device's container like any other program.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from toolchain import targets
from toolchain.core import fingerprint
from toolchain.core.store import Store, digest_tree
from toolchain.images import build, specification
from toolchain.images.build_container import Mount
from toolchain.images.engine import Engine
from toolchain.lock import fetch, pins
from toolchain.targets import Target

IMAGE = "counter"
# Its header is what plugins are compiled against; the binary package does not have it.
SOURCE = "qemu"
HEADERS = "include/qemu"
FILES = Path(__file__).with_name("instruction_counter_files")
IN_CONTAINER = "/edgewright"
PLUGIN = "count.so"


def folder(store: Store, progress: Callable[[str], None]) -> Path:
    """The folder, built when it is not there.

    Args:
        store: the cache.
        progress: called with each step.

    Raises:
        UsageError: there is none for this machine's architecture.
        EdgewrightError: it can't be built.
    """
    spec = specification.spec(IMAGE, targets.of_this_machine())
    pin = pins.source(SOURCE)
    known = targets.all_targets().values()
    arches = sorted({t.emulator.qemu for t in known if t.emulator is not None})
    inputs: dict[str, object] = {
        "kind": "counter",
        "code": fingerprint.of(__name__),
        "image": build.key_of(spec),
        "source": pin.sha256,
        "files": digest_tree(FILES),
        "arches": arches,
    }

    def build_plugin(made: Path) -> None:
        engine = Engine()
        image = build.build(spec, engine, store, progress=progress)
        fetch.fetch_all([pin], store)
        with store.scratch() as scratch:
            progress(f"unpacking {SOURCE}")
            fetch.unpack(pin, store, scratch / "src")
            progress("building the plugin")
            mounts = [
                Mount(source=scratch / "src" / HEADERS, target=f"{IN_CONTAINER}/headers"),
                Mount(source=FILES, target=f"{IN_CONTAINER}/files", read_only=True),
                Mount(source=made, target=f"{IN_CONTAINER}/out"),
            ]
            user = f"{os.getuid()}:{os.getgid()}"
            with engine.container(image.tag, mounts=mounts, user=user) as executor:
                executor.call(
                    [
                        "sh",
                        f"{IN_CONTAINER}/files/collect",
                        f"{IN_CONTAINER}/headers",
                        f"{IN_CONTAINER}/out",
                        *arches,
                    ]
                )

    return store.get_or_build(inputs, build_plugin).folder


def emulator(place: str, target: Target) -> list[str]:
    """The command line, without a plugin, that runs a program of a target.

    Args:
        place: where the folder is.
        target: what the program is for; one with an emulator.
    """
    assert target.emulator is not None
    libraries = ["--library-path", f"{place}/lib"]
    return [f"{place}/loader", *libraries, f"{place}/qemu-{target.emulator.qemu}"]
