"""One whole run of the product, shared by the tests: real engine, wheels, sshd.

The cache is the machine's own, so that a second run of the tests is quick; dist/, results/,
reports/ and the inventory are the tests' own.
"""

from __future__ import annotations

import functools
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.sshd import Sshd
from toolchain.core import paths, process
from toolchain.core.errors import CommandError

TARGET = "rv64gc"
# emulated devices are the machine's: other runs of the tests have theirs
RUN = f"test-{os.getpid()}"
HOST = f"{RUN}-deployed"
MODELS = "digits-cnn,mobilenetv3-large"


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


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Product:
    folder = tmp_path_factory.mktemp("product")
    return Product(folder=folder, inventory=folder / "inventory.yml")


@pytest.fixture(scope="session")
def wheels(product: Product) -> list[dict[str, Any]]:
    """The wheels of the target, built."""
    built: list[dict[str, Any]] = product.json("build-wheels", "--target", TARGET)
    return built


@pytest.fixture(scope="session")
def models(product: Product) -> list[dict[str, Any]]:
    """The manifests of two models, compiled for the target."""
    manifests: list[dict[str, Any]] = product.json("compile", "--model", MODELS, "--target", TARGET)
    return manifests


@functools.cache
def remove_left_behind() -> None:
    """Take away the devices of runs that were killed; those of runs that go on stay."""
    from deploy.emulator import devices
    from toolchain.images.engine import Engine

    for name in devices.status(Engine()):
        found = re.match(r"test-(\d+)-", name)
        if found is not None and not Path("/proc", found[1]).exists():
            devices.down(name, Path("no inventory"))


@pytest.fixture(scope="session")
def device(product: Product) -> Iterator[str]:
    """An emulated device in the tests' own inventory."""
    remove_left_behind()
    where = ["--name", HOST, "--inventory", str(product.inventory)]
    product.invoke("emulator.up", "--target", TARGET, *where)
    yield HOST
    product.invoke("emulator.down", *where)
    assert HOST not in product.inventory.read_text()


@pytest.fixture(scope="session")
def deployed(
    product: Product, device: str, wheels: list[dict[str, Any]], models: list[dict[str, Any]]
) -> dict[str, Any]:
    """What the first deployment said."""
    where = ["--host", device, "--inventory", str(product.inventory)]
    outcome: dict[str, Any] = product.json("deploy", *where)
    return outcome


@pytest.fixture
def sshd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    server = Sshd(tmp_path / "device")
    server.start()
    yield server
    server.stop()


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


@pytest.fixture(scope="session")
def shared_device(product: Product) -> Iterator[Callable[[str, str], list[str]]]:
    """Devices by target and system: each is started when it is asked for first, and kept.

    A test finds there what the one before has deployed, and deploys what it needs.
    """
    with ExitStack() as running:
        yield functools.cache(lambda t, s: running.enter_context(emulated(product, t, s)))


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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "integration" not in Path(str(item.path)).parts:
            continue
        item.add_marker(pytest.mark.integration)
        used = getattr(item, "fixturenames", ())
        if "deployed" in used:
            item.add_marker(pytest.mark.deployed)
        elif "product" in used:
            item.add_marker(pytest.mark.product)


# pytest's own temporary folders go away; an interrupted run must not leave a device behind
os.environ.setdefault("PYTHONUNBUFFERED", "1")
