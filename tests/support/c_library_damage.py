"""Runs on a device: the library for C with releases whose files were changed or cut.

    python -m tests.support.c_library_damage libedgewright.so CURRENT COUNT

`digits-cnn` of CURRENT under TensorFlow Lite and under TVM, each COUNT times with a seeded change
in manifest.json or model.json, and cut files of both. Prints how often each status came; a crash
ends it, and so does a failure that is not told in one line.
"""

from __future__ import annotations

import collections
import ctypes
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.c_library_on_device import OK, TFLITE, TVM, Library

NAME = "digits-cnn"
PICTURE = np.zeros((8, 8, 1), np.uint8)
NO_DETECTOR = 3  # how the use of the whole release ends
ODD: tuple[Any, ...] = (
    None,
    -1,
    0,
    1,
    2,
    3,
    63,
    65,
    2**31,
    2**63,
    1e308,
    True,
    "",
    "tvm",
    "int64",
    "../../x",
    [],
    {},
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where values stand in what a JSON file holds."""
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, part in parts:
        found.append((*path, key))
        if isinstance(part, (dict, list)):
            found += places(part, found[-1])
    return found


def changed(text: str, chance: random.Random) -> str:
    """A JSON file with one value changed, taken away or given twice, or a byte that is another."""
    if chance.random() < 0.2:
        at = chance.randrange(len(text))
        return text[:at] + chr(chance.randrange(1, 128)) + text[at + 1 :]
    value = json.loads(text)
    # lists of all files and wheels would take most of the changes
    for bulk in ("files", "wheels"):
        value.pop(bulk, None)
    *path, key = chance.choice(places(value))
    part = value
    for step in path:
        part = part[step]
    kind = chance.randrange(4)
    if kind == 0:
        del part[key]
    elif kind == 1 and isinstance(part, list):
        part.append(part[key])
    else:
        part[key] = chance.choice(ODD)
    return json.dumps(value)


def used(library: Library, release: Path, runtime: str) -> int:
    """The status with which the use of a network ends."""
    status, network = library.opened(NAME, release, runtime)
    calls: dict[str, tuple[Any, ...]] = {
        "run": (),
        "classify": ((ctypes.c_byte * 4096)(), few()),
        "detect": (ctypes.c_double(0), (ctypes.c_byte * 4096)(), few()),
        "segment": ((ctypes.c_byte * 64)(), ctypes.c_size_t(64)),
    }
    if status == OK:
        status = library.shown(network, PICTURE)
    for name, given in calls.items():
        if status == OK:
            status = int(getattr(library, name)(network, *given))
    library.free(network)
    if status != OK:
        said = library.said()
        assert len(said) > 10, said
        assert "\n" not in said, said
    return status


def few() -> Any:
    """Room for five of what is found."""
    return ctypes.byref(ctypes.c_size_t(5))


def main(path: str, current: Path, count: int) -> None:
    """Change, use and count."""
    library = Library(path)
    manifest = json.loads((current / "manifest.json").read_text())
    (entry,) = (one for one in manifest["models"] if one["model"] == NAME and one["batch"] == 1)
    statuses: collections.Counter[str] = collections.Counter()
    cut = []
    with tempfile.TemporaryDirectory() as place:
        release = Path(place)
        shutil.copytree(current / entry["folder"], release / entry["folder"])
        (release / "library").symlink_to(Path(path).resolve().parents[1])
        for runtime in (TFLITE, TVM):
            for seed in range(count):
                chance = random.Random(f"{runtime} {seed}")  # noqa: S311
                for name in ("manifest.json", entry["card"]):
                    shutil.copy(current / name, release / name)
                one = release / chance.choice(["manifest.json", entry["card"]])
                one.write_text(changed(one.read_text(), chance))
                statuses[f"{runtime} {used(library, release, runtime)}"] += 1
            for name in ("manifest.json", entry["card"]):
                shutil.copy(current / name, release / name)
            assert used(library, release, runtime) == NO_DETECTOR, library.said()
            form = next(one for one in entry["executables"] if one["runtime"] == runtime)
            whole = (current / form["file"]).read_bytes()
            # another name: a library that was opened stays mapped
            for length in (0, 1, 64, len(whole) // 3, len(whole) - 1):
                (release / form["file"]).unlink()
                (release / form["file"]).write_bytes(whole[:length])
                assert used(library, release, runtime) != OK, (runtime, length)
                cut.append(library.said().rsplit(": ", 1)[-1])
    sys.stdout.write(json.dumps({"statuses": statuses, "cut": cut}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
