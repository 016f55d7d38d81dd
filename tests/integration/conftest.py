"""One whole run of the product, shared by the tests: real engine, wheels, sshd.

The cache is the machine's own, so that a second run of the tests is quick; dist/, results/,
reports/ and the inventory are the tests' own.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support import openssh
from tests.support.product import HOST, MODELS, TARGET, Product, emulated, remove_left_behind
from tests.support.sshd import Sshd


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


@pytest.fixture(scope="session")
def shared_device(product: Product) -> Iterator[Callable[[str, str], list[str]]]:
    """Devices by target and system: each is started when it is asked for first, and kept.

    A test finds there what the one before has deployed, and deploys what it needs.
    """
    with ExitStack() as running:
        yield functools.cache(lambda t, s: running.enter_context(emulated(product, t, s)))


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


@pytest.fixture
def ssh_config(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What sftp reads in place of the account's own configuration."""
    config = tmp_path / "ssh_config"
    config.write_text(
        f"IdentityFile {sshd.folder}/user_key\nIdentitiesOnly yes\n"
        f"UserKnownHostsFile {sshd.folder}/known_hosts\nGlobalKnownHostsFile none\n"
    )
    openssh.configured(monkeypatch, tmp_path / "client", config, "sftp")
    return config


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server that speaks S3, with a bucket; the address of a folder in it."""
    if not all(importlib.util.find_spec(name) for name in ("s3fs", "moto")):
        pytest.skip("the extra s3, and moto[server], are not installed")
    port = _free_port()
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}"),
        ("AWS_ACCESS_KEY_ID", "one"),
        ("AWS_SECRET_ACCESS_KEY", "two"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _make_bucket()
            yield "s3://team/cache"
        finally:
            server.terminate()


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def _make_bucket() -> None:
    import s3fs

    for _ in range(100):
        try:
            s3fs.S3FileSystem(skip_instance_cache=True).mkdir("team")
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("moto does not answer")
