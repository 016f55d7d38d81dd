"""The tasks, run as a user runs them, and the devices that runs of the tests start."""

from __future__ import annotations

import functools
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from toolchain.core import paths, process
from toolchain.core.errors import CommandError

TARGET = "rv64gc"
# emulated devices are the machine's: other runs of the tests have theirs
RUN = f"test-{os.getpid()}"
HOST = f"{RUN}-deployed"
MODELS = "digits-cnn,mobilenetv3-large"
LONG = pytest.mark.skipif(
    os.environ.get("EDGEWRIGHT_TARGETS") != "all",
    reason="its images and wheels take 20 minutes from nothing: EDGEWRIGHT_TARGETS=all",
)


@dataclass(frozen=True, kw_only=True)
class Product:
    """The tasks, run as a user runs them.

    Attributes:
        folder: holds dist/, results/, reports/.
        inventory: the inventory of this run.
    """

    folder: Path
    inventory: Path

    def invoke(self, *args: str, env: dict[str, str] | None = None) -> str:
        """Run a task and return what it printed (both streams).

        Raises:
            CommandError: it exited non-zero.
        """
        return process.run(
            [sys.executable, "-m", "invoke", *args],
            cwd=paths.ROOT,
            env={"EDGEWRIGHT_DIST": str(self.folder), "COLUMNS": "200", **(env or {})},
            on_line=lambda line: print(line, file=sys.stderr, flush=True),  # noqa: T201
        )

    def json(self, *args: str, env: dict[str, str] | None = None) -> Any:
        """Run a task with --json and return what it says."""
        text = self.invoke(*args, "--json", env=env)
        start = min(i for i in (text.find("\n["), text.find("\n{")) if i >= 0)
        value, _ = json.JSONDecoder().raw_decode(text[start + 1 :])
        return value

    def refused(self, *args: str, env: dict[str, str] | None = None) -> CommandError:
        """Run a task that must fail."""
        with pytest.raises(CommandError) as caught:
            self.invoke(*args, env=env)
        assert "Traceback" not in caught.value.output
        return caught.value


@functools.cache
def remove_left_behind() -> None:
    """Take away the devices of runs that were killed; those of runs that go on stay."""
    from deploy.emulator import devices
    from toolchain.images.engine import Engine

    for name in devices.status(Engine()):
        found = re.match(r"test-(\d+)-", name)
        if found is not None and not Path("/proc", found[1]).exists():
            devices.down(name, Path("no inventory"))


@contextmanager
def emulated(product: Product, target: str, system: str, cpu: str = "") -> Iterator[list[str]]:
    """An emulated device of a target and system, in the tests' own inventory.

    Args:
        product: the run.
        target: of the device.
        system: of the device.
        cpu: QEMU_CPU; the target's own when empty.

    Yields:
        The options that name it to other tasks.
    """
    remove_left_behind()
    where = ["--inventory", str(product.inventory)]
    # another CPU is another device: one that runs under its name is kept as it is
    name = f"{RUN}-{target}-{system}" + ("-cpu" if cpu else "")
    about = ["--target", target, "--os", system, *(["--cpu", cpu] if cpu else [])]
    product.invoke("emulator.up", "--name", name, *about, *where)
    try:
        yield ["--host", name, *where]
    finally:
        product.invoke("emulator.down", "--name", name, *where)


def measured(product: Product, target: str, on: list[str], *options: str) -> dict[str, Any]:
    """The result of a small network on an emulated device of a target.

    Args:
        product: the run.
        target: of the device.
        on: the options that name it.
        options: of `compile`.
    """
    model = "digits-cnn"
    product.invoke("build-wheels", "--target", target)
    product.invoke("compile", "--model", model, "--target", target, *options)
    product.invoke("deploy", "--model", model, *on)
    result: dict[str, Any] = product.json("bench", "--budget", "1", *on)
    return result
