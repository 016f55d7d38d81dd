"""Tuning on a device of this machine's own architecture: real sshd, real linker, TVM's RPC."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy import connection, inventory
from tests.integration.conftest import Product
from toolchain import paths, targets
from toolchain.compile import release
from toolchain.store import Store
from toolchain.tuning import records
from toolchain.tuning.records import Database, Header, TileRecord

HOST, TARGET, MODEL = "test-tune", "x86_64", "digits-cnn"

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not targets.target(TARGET).native(), reason="this machine is no x86-64"),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The machine's own cache, but for what tuning finds: that is the tests' own."""
    folder = tmp_path_factory.mktemp("cache")
    paths.cache().mkdir(parents=True, exist_ok=True)
    for name in ("blobs", "entries", "locks", "tmp"):
        (paths.cache() / name).mkdir(exist_ok=True)
    for path in paths.cache().iterdir():
        if path.name != records.FOLDER:
            (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="module")
def board(product: Product, cache: Path) -> Iterator[list[str]]:
    """The options that name a device with the model deployed."""
    env = {"EDGEWRIGHT_CACHE": str(cache)}
    where = ["--inventory", str(product.inventory)]
    product.invoke("build-wheels", "--target", TARGET)
    product.invoke("compile", "--model", MODEL, "--target", TARGET, env=env)
    product.invoke("emulator.up", "--target", TARGET, "--name", HOST, *where)
    product.invoke("deploy", "--host", HOST, "--model", MODEL, *where)
    yield ["--host", HOST, *where]
    product.invoke("emulator.down", "--name", HOST, *where)


def left_behind(product: Product) -> str:
    """What of ours runs or lies about on the device."""
    device = inventory.load(product.inventory).host(HOST)
    # the brackets keep the pattern from matching its own command line
    running = "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep -c '[_]listen_loop'"
    script = f"{running}; ls -d /tmp/edgewright-tune* 2>/dev/null; true"
    with connection.connect(device) as conn:
        return conn.run(["sh", "-c", script])


def test_a_search_is_resumed_used_and_leaves_nothing_on_the_device(
    product: Product, board: list[str], cache: Path
) -> None:
    env = {"EDGEWRIGHT_CACHE": str(cache)}
    tune = ["tune", "--model", MODEL, *board]
    first: dict[str, Any] = product.json(*tune, "--trials", "4", env=env)
    assert (first["trials"], first["new"], first["failed"]) == (4, 4, 0)
    again: dict[str, Any] = product.json(*tune, "--trials", "6", env=env)
    assert (again["trials"], again["new"]) == (6, 2)
    assert again["devices"] == [HOST]
    assert left_behind(product).split() == ["0"]

    # whatever was measured here, the tiles that were tried are made the better ones
    database = Database(Store(cache), Header.of(targets.target(TARGET), release().version))
    own = [t for t in database.trials() if t.own]
    tried = {t.workload for t in database.trials() if not t.own} & {t.workload for t in own}
    assert tried
    for one in (t for t in database.trials() if not t.own and t.workload in tried):
        compared = min(o.median for o in own if o.workload == one.workload)
        for _ in range(5):
            database.add(one.model_copy(update={"seconds": (compared / 10,)}))
    (card,) = product.json("compile", "--model", MODEL, "--target", TARGET, env=env)
    assert card["libraries"][TARGET]["O3"]["tuned"] == len(tried)
    check = next(c for c in card["checks"] if c["opt_level"] == 3)
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
    product: Product, board: list[str]
) -> None:
    assert "--trials" in product.refused("tune", "--model", MODEL, *board).output
    where = ["--inventory", str(product.inventory)]
    product.invoke("emulator.up", "--target", TARGET, "--name", "test-bare", *where)
    try:
        refused = product.refused(
            "tune", "--model", MODEL, "--trials", "1", "--host", "test-bare", *where
        )
        assert "invoke deploy --host test-bare" in refused.output
    finally:
        product.invoke("emulator.down", "--name", "test-bare", *where)
