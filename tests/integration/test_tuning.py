"""Tuning on a device of this machine's own architecture: real sshd, real linker, TVM's RPC."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.inventory import reading
from deploy.inventory.reading import Device
from deploy.ssh import connection
from tests.support.product import Product
from toolchain import targets
from toolchain.compile.compilation import release
from toolchain.compile.compilation_request import TileRecord
from toolchain.core import paths
from toolchain.core.store import Store
from toolchain.tuning import records
from toolchain.tuning.records import Database, Header

TARGET, SYSTEM, MODEL = "x86_64", "debian13", "digits-cnn"

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not targets.target(TARGET).native(), reason="this machine is no x86-64"),
]


@pytest.fixture(scope="module", autouse=True)
def own_records(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tuning finds is these tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEWRIGHT_RECORDS", str(tmp_path_factory.mktemp("records")))
        yield


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The machine's own cache, but for what earlier versions kept there of tuning."""
    folder = tmp_path_factory.mktemp("cache")
    paths.cache().mkdir(parents=True, exist_ok=True)
    for name in ("blobs", "entries", "locks", "tmp"):
        (paths.cache() / name).mkdir(exist_ok=True)
    for path in paths.cache().iterdir():
        if path.name != records.FOLDER:
            (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="module")
def device(product: Product, shared_device: Callable[[str, str], list[str]]) -> Device:
    """One of this machine's own architecture."""
    _, name, *_ = shared_device(TARGET, SYSTEM)
    return reading.load(product.inventory).host(name)


@pytest.fixture(scope="module")
def board(product: Product, cache: Path, device: Device) -> list[str]:
    """The options that name it, with the model deployed."""
    on = ["--host", device.name, "--inventory", str(product.inventory)]
    product.invoke("build-wheels", "--target", TARGET)
    product.invoke(
        "compile", "--model", MODEL, "--target", TARGET, env={"EDGEWRIGHT_CACHE": str(cache)}
    )
    product.invoke("deploy", "--model", MODEL, *on)
    return on


def left_behind(device: Device) -> str:
    """What of ours runs or lies about on the device."""
    # the brackets keep the pattern from matching its own command line
    running = "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep -c '[_]listen_loop'"
    script = f"{running}; ls -d /tmp/edgewright-tune* 2>/dev/null; true"
    with connection.connect(device) as conn:
        return conn.run(["sh", "-c", script])


def test_a_search_is_resumed_used_and_leaves_nothing_on_the_device(
    product: Product, device: Device, board: list[str], cache: Path
) -> None:
    env = {"EDGEWRIGHT_CACHE": str(cache)}
    tune = ["tune", "--model", MODEL, *board]
    first: dict[str, Any] = product.json(*tune, "--trials", "4", env=env)
    assert (first["trials"], first["new"], first["failed"]) == (4, 4, 0)
    again: dict[str, Any] = product.json(*tune, "--trials", "6", env=env)
    assert (again["trials"], again["new"]) == (6, 2)
    assert again["devices"] == [device.name]
    assert left_behind(device).split() == ["0"]

    # whatever was measured here, the tiles that were tried are made the better ones
    database = Database(Store(cache), Header.of(targets.target(TARGET), release().version))
    own = [t for t in database.trials() if t.own]
    tried = {t.workload for t in database.trials() if not t.own} & {t.workload for t in own}
    assert tried
    for one in (t for t in database.trials() if not t.own and t.workload in tried):
        compared = min(o.median for o in own if o.workload == one.workload)
        for _ in range(5):
            database.add(one.model_copy(update={"seconds": (compared / 10,)}))
    (manifest,) = product.json("compile", "--model", MODEL, "--target", TARGET, env=env)
    assert manifest["libraries"][TARGET]["O3"]["tuned"] == len(tried)
    check = next(c for c in manifest["checks"] if c["opt_level"] == 3)
    assert check["max_rel"] < 1e-4
    product.invoke("deploy", "--model", MODEL, *board)
    result = product.json("bench", "--budget", "1", "--runtime", "tvm", *board)
    assert result["complete"]


def test_a_database_of_another_version_is_ignored_with_a_line(
    product: Product, cache: Path
) -> None:
    env = {"EDGEWRIGHT_CACHE": str(cache)}
    other = Database(Store(cache), Header.of(targets.target(TARGET), "0.1"))
    other.add(
        records.Trial(
            workload="f" * 16, function="f", host="h", own=True, seconds=(1.0,),
            tile=TileRecord(rows=1, vectors=1, width=8),
        )
    )  # fmt: skip
    said = product.invoke("compile", "--model", MODEL, "--target", TARGET, env=env)
    assert "another target or version, ignored: x86_64, TVM 0.1" in said


def test_a_search_without_an_end_or_on_a_device_without_a_release_is_refused(
    product: Product, device: Device, board: list[str], tmp_path: Path
) -> None:
    assert "--trials" in product.refused("tune", "--model", MODEL, *board).output
    # the same device with another folder for what is ours, so with nothing deployed
    path = tmp_path / "inventory.yml"
    entry = {
        "ansible_host": device.host,
        "ansible_port": device.port,
        "ansible_user": device.user,
        "ansible_ssh_private_key_file": str(device.key_file),
        "edgewright": {
            "target": TARGET, "known_hosts": str(device.known_hosts), "root": "~/bare",
        },
    }  # fmt: skip
    reading.add_host(path, "test-bare", entry)
    on = ["--host", "test-bare", "--inventory", str(path)]
    refused = product.refused("tune", "--model", MODEL, "--trials", "1", *on)
    assert "invoke deploy --host test-bare" in refused.output
