"""How long a wheel's build takes, as ratios of one run.

    python -m benchmarks.wheel_builds tflite_runtime             # cold, unchanged, one line changed
    python -m benchmarks.wheel_builds tvm_ffi --emulated         # in the target's own container

Cold: an empty compiler cache and store, sources and images there. Native: the same wheel for this
machine's own architecture. Emulated: the same recipe, sources and number of jobs in a container of
the target's architecture under qemu-user; the wheel it makes is compared with the cross-built one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from toolchain import targets
from toolchain.commandline import console
from toolchain.core import paths, process
from toolchain.core.store import MANIFEST, Store, digest_file
from toolchain.images import build as image_builder
from toolchain.images import specification
from toolchain.images.engine import Engine
from toolchain.lock import fetch, pins
from toolchain.targets import Target
from toolchain.wheels import build
from toolchain.wheels.variations import Conditions

KEPT = {"root", "image"}  # kinds of entries that a cold build of a wheel finds there
RUNS_UNCHANGED = 3
# Of each wheel: the source, its series of patches, and a C++ file in which a line is added.
CHANGED = {
    "tflite_runtime": ("tensorflow", "tensorflow-2.14.1", "tensorflow/lite/kernels/exp.cc"),
    "tvm_ffi": ("apache-tvm-ffi", "apache-tvm-ffi-0.1.14.post0", "src/ffi/object.cc"),
    "tvm_runtime": ("apache-tvm", "apache-tvm-0.27.0.post1", "tvm/src/runtime/device_api.cc"),
}
LINE = "namespace { [[maybe_unused]] int changed_by_the_benchmark = 1; }"
PATCH = "9999-one-line.patch"


def clone(folder: Path) -> Path:
    """A clone of this checkout."""
    copy = folder / "clone"
    process.run(["git", "clone", "--quiet", str(paths.ROOT), str(copy)])
    return copy


def cold_cache(folder: Path, store: Store) -> Path:
    """A cache that has the fetched files and the images of this machine's, and nothing compiled."""
    cache = folder / "cache"
    shutil.copytree(store.root / "blobs", cache / "blobs", copy_function=os.link)
    for manifest in (store.root / "entries").glob(f"*/*/{MANIFEST}"):
        if json.loads(manifest.read_text())["inputs"].get("kind") in KEPT:
            kept = cache / manifest.parent.relative_to(store.root)
            shutil.copytree(manifest.parent, kept, copy_function=os.link)
    return cache


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    started = time.monotonic()
    work()
    return time.monotonic() - started


def build_wheel(checkout: Path, cache: Path, name: str, target: str) -> Path:
    """Build a wheel as a user does; return its file."""
    command = [sys.executable, "-m", "invoke", "build-wheels", "--only", name, "--target", target]
    env = {"EDGEWRIGHT_CACHE": str(cache), "EDGEWRIGHT_DIST": str(cache)}
    process.run(command, cwd=checkout, env=env, on_line=console.note)
    distribution = build.recipe(name)[0].name.replace("-", "_")
    return next((cache / "dist" / "wheels" / target).glob(f"{distribution}-*.whl"))


def change_one_line(checkout: Path, name: str, store: Store) -> None:
    """Add a patch to a checkout that adds a line to a C++ file of a wheel."""
    source, series, file = CHANGED[name]
    with store.scratch() as scratch:
        # the one file: ext4 is slow to make files where many were just removed
        fetch.unpack(pins.source(source), store, scratch / "src", (file,))
        first = (scratch / "src" / file).read_text().splitlines()[0]
    folder = checkout / "patches" / series
    (folder / PATCH).write_text(
        f"Description: one line\n\n--- a/{file}\n+++ b/{file}\n@@ -1,1 +1,2 @@\n+{LINE}\n {first}\n"
    )
    with (folder / "series").open("a") as listed:
        listed.write(PATCH + "\n")


def cross(name: str, target: Target, folder: Path) -> list[list[str]]:
    """Cold, unchanged, one line changed, and native, as rows of a table."""
    store = Store()
    checkout = clone(folder)
    cache = cold_cache(folder, store)
    cold = timed(lambda: build_wheel(checkout, cache, name, target.name))
    runs = [
        timed(lambda: build_wheel(checkout, cache, name, target.name))
        for _ in range(RUNS_UNCHANGED)
    ]
    same = sorted(runs)[len(runs) // 2]
    own = targets.of_this_machine()
    native = timed(lambda: build_wheel(checkout, cache, name, own.name))
    change_one_line(checkout, name, store)
    changed = timed(lambda: build_wheel(checkout, cache, name, target.name))
    return [
        ["cold", f"{cold:.1f}", "", ""],
        ["nothing changed", f"{same:.2f}", f"cold is {cold / same:.0f} times", "200 or more"],
        ["one line changed", f"{changed:.1f}", f"cold is {cold / changed:.1f} times", "10 or more"],
        [
            f"native ({own.name})",
            f"{native:.1f}",
            f"cold is {cold / native:.2f} times",
            "1.2 at most",
        ],
    ]


def emulated(name: str, target: Target, folder: Path) -> list[list[str]]:
    """Cross-built and built under emulation, both cold, as rows of a table."""
    store, say = Store(), console.note
    image_builder.build(specification.spec("native", target), Engine(), store, progress=say)
    first, second = folder / "cross", folder / "emulated"
    found: dict[Path, Path] = {}

    def work(conditions: Conditions, into: Path) -> None:
        into.mkdir()
        found[into] = build.again(target, name, store, conditions, into, progress=say)

    one = timed(lambda: work(Conditions(cold=True), first))
    two = timed(lambda: work(Conditions(cold=True, image="native"), second))
    same = digest_file(found[first]) == digest_file(found[second])
    return [
        ["cross", f"{one:.1f}", "", ""],
        ["emulated", f"{two:.1f}", f"{two / one:.1f} times cross", "10 or more"],
        ["the same bytes", "yes" if same else "no", "", ""],
    ]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", choices=sorted(CHANGED))
    parser.add_argument("--target", default="rv64gc")
    parser.add_argument("--emulated", action="store_true")
    chosen = parser.parse_args()
    measure = emulated if chosen.emulated else cross
    with tempfile.TemporaryDirectory(prefix="edgewright-", dir=Store().root) as folder:
        rows = measure(chosen.wheel, targets.target(chosen.target), Path(folder))
    title = f"{chosen.wheel} for {chosen.target}"
    console.show_table(title, ["build", "seconds", "ratio", "goal"], rows)


if __name__ == "__main__":
    main()
