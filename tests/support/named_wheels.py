"""Wheels that are built when somebody names them: taken from the cache, run on emulated devices."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from toolchain import targets
from toolchain.core.store import Store, digest_of
from toolchain.images import build as images
from toolchain.images import specification
from toolchain.images.build_container import Mount
from toolchain.images.engine import Engine
from toolchain.wheels import build, elf

TARGET = "rv64gc"
SYSTEM = {"libstdc++.so.6", "libm.so.6", "libgcc_s.so.1", "libc.so.6"}


def wheel(recipe: str, target: str = TARGET) -> Path | None:
    """The wheel for a target, when the cache has it."""
    entry = Store().entry(digest_of(build.inputs(recipe, targets.target(target))))
    if entry is None:
        return None
    return next(entry.file(name) for name in entry.files if name.endswith(".whl"))


def needed(recipe: str, takes: str, target: str = TARGET) -> pytest.MarkDecorator:
    """Skips the tests of a wheel that the cache does not have, and says how long it takes."""
    return pytest.mark.skipif(
        wheel(recipe, target) is None,
        reason=f"it takes {takes} to build: invoke build-wheels --target {target} --only {recipe}",
    )


def unpacked(recipe: str, folder: Path, target: str = TARGET) -> Path:
    """The folder, with the wheel unpacked in it."""
    found = wheel(recipe, target)
    assert found is not None
    with zipfile.ZipFile(found) as archive:
        archive.extractall(folder)
    return folder


def run(
    program: Path, folder: Path, installed: Path, cpu: str, *arguments: str, target: str = TARGET
) -> dict[str, Any]:
    """What a program says that is run on a folder in an emulated device, by an unpacked wheel."""
    spec = specification.spec("device", targets.target(target))
    image = images.build(spec, Engine(), Store(), progress=lambda _line: None)
    mounts = [
        Mount(source=installed, target="/site", read_only=True),
        Mount(source=program.parent, target="/program", read_only=True),
        Mount(source=folder, target="/given"),
    ]
    env = {"PYTHONPATH": "/site", "PYTHONDONTWRITEBYTECODE": "1"}
    if cpu:
        env["QEMU_CPU"] = cpu
    owner = f"{os.getuid()}:{os.getgid()}"
    with Engine().container(image.tag, mounts=mounts, env=env, user=owner) as device:
        said = device.call(["python3", f"/program/{program.name}", "/given", *arguments])
    found: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
    return found


def exported(library: Path) -> set[str]:
    """What a library exports, once it is seen to need the system's alone and to name no folder."""
    read = elf.read(library)
    assert {name for name in read.needed if not name.startswith("ld-linux")} <= SYSTEM
    assert b"/edgewright/" not in library.read_bytes()
    return {name.split("@")[0] for name in read.exports} - {""}
