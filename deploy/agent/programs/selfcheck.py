"""Runs on the device, in a new release's own Python: does what was installed work there?

Arguments: the release folder, then RUNTIME=PATH for each artifact, its path below that folder. It
imports every package that the wheels brought, and loads every artifact by the release's own runner,
which is how it will be run. The first thing that fails ends it with one line that says which.
Python 3.8 or newer.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from importlib import metadata

TYPE_CHECKING = False  # see steps
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


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


def backends(runner: str, runtimes: Iterable[str]) -> Any:
    """The runner's module that opens runtimes; nothing is written into the runner's folder."""
    sys.path.insert(0, runner)
    sys.dont_write_bytecode = True
    module = importlib.import_module("edgewright_runner.backends")
    for name in runtimes:
        # one that is missing fails when it is opened; earlier releases have all in one module
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(f"edgewright_runner.backends.{name}")
    sys.dont_write_bytecode = False
    return module


def main(release: str, *artifacts: str) -> None:
    """Check everything; exit 1 with what failed."""
    # as the runner does: what is imported here is not to report to its maker
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    with open(os.path.join(release, "manifest.json"), encoding="utf-8") as stream:
        manifest = json.load(stream)
    imported, what = [], "the list of wheels"
    named = [artifact.split("=", 1) for artifact in artifacts]
    try:
        for wheel in manifest["wheels"]:
            what = wheel
            for name in packages(wheel):
                what = f"import {name}"
                importlib.import_module(name)
                imported.append(name)
        if named:
            what = "the runner"
            runner = os.path.join(release, manifest["runner"])
            opener = backends(runner, sorted({runtime for runtime, _ in named}))
        for runtime, path in named:
            what = path
            opener.open_runtime(runtime, 1).load(os.path.join(release, path))
    except Exception as error:  # noqa: BLE001 (whatever a package raises, it does not work)
        sys.exit(f"{what}: {type(error).__name__}: {error}")
    sys.stdout.write(json.dumps({"imported": imported, "models": len(named)}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
