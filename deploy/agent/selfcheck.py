"""Runs on the device, in a new release's own Python: does what was installed work there?

Argument: the release folder. Imports every package that its wheels brought and loads every model;
the first thing that fails ends it with one line that says which. Python 3.8 or newer.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from importlib import metadata


def packages(wheel: str) -> list[str]:
    """What a wheel lets one import, from its installed list of files."""
    distribution = metadata.distribution(os.path.basename(wheel).split("-")[0])
    found = set()
    for path in distribution.files or []:
        top, inside = path.parts[0], len(path.parts) > 1
        if not inside and top.endswith(".py"):
            found.add(top[:-3])
        elif inside and top.isidentifier() and path.parts[1] == "__init__.py":
            found.add(top)
    return sorted(found)


def load(path: str) -> bool:
    """Load a model the way it will be run; False for a file that is none."""
    if path.endswith(".tflite"):
        interpreter = importlib.import_module("tflite_runtime.interpreter")
        interpreter.Interpreter(model_path=path, num_threads=1).allocate_tensors()
        return True
    if path.endswith(".so"):
        importlib.import_module("tvm").runtime.load_module(path)
        return True
    return False


def main(release: str) -> None:
    """Check everything; exit 1 with what failed."""
    with open(os.path.join(release, "manifest.json"), encoding="utf-8") as stream:
        manifest = json.load(stream)
    imported, loaded, what = [], 0, "the list of wheels"
    try:
        for wheel in manifest["wheels"]:
            what = wheel
            for name in packages(wheel):
                what = f"import {name}"
                importlib.import_module(name)
                imported.append(name)
        folders = tuple(model["folder"] + "/" for model in manifest["models"])
        for file in manifest["files"]:
            what = file["path"]
            if what.startswith(folders) and load(os.path.join(release, what)):
                loaded += 1
    except Exception as error:  # noqa: BLE001 (whatever a package raises, it does not work)
        sys.exit(f"{what}: {type(error).__name__}: {error}")
    sys.stdout.write(json.dumps({"imported": imported, "models": loaded}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
