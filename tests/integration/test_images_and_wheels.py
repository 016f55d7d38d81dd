"""Images with the same id, wheels that are what they say; nothing is built twice."""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

from packaging.utils import parse_wheel_filename

from tests.support.product import TARGET, Product
from toolchain import targets
from toolchain.core.store import Entry, Store, digest_of
from toolchain.images import assembly, specification
from toolchain.images import build as images
from toolchain.images.engine import Engine
from toolchain.wheels import build, elf

NO_ENGINE = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}


def wheel_of(wheels: list[dict[str, Any]], recipe: str) -> Path:
    return Path(next(w["path"] for w in wheels if w["recipe"] == recipe))


def test_the_dockerfile_run_again_gives_the_same_image_id(wheels: list[dict[str, Any]]) -> None:
    engine, store = Engine(), Store()
    spec = specification.spec("device", targets.target(TARGET))
    before = images.build(spec, engine, store, progress=lambda _: None)
    # a device of the user's may run on the image, so it is not removed first
    root = images._root(spec, store, lambda _: None, None)
    again = "edgewright/again:test"
    try:
        with store.scratch() as scratch:
            made = assembly.assemble(
                spec, root, engine, scratch, tag=again, epoch=images.EPOCH, progress=lambda _: None
            )
        assert made.id == before.id
        assert engine.image_id(again) == before.id
    finally:
        engine.remove_image(again)


def test_unchanged_wheels_need_no_engine(product: Product, wheels: list[dict[str, Any]]) -> None:
    again = product.json("build-wheels", "--target", TARGET, env=NO_ENGINE)
    assert [w["sha256"] for w in again] == [w["sha256"] for w in wheels]
    assert not any(w["fresh"] for w in again)


def test_a_wheel_built_elsewhere_from_its_provenance_is_the_same(
    product: Product, wheels: list[dict[str, Any]]
) -> None:
    wheel = wheel_of(wheels, "tvm_ffi")
    statement = wheel.with_name(f"{wheel.name}.provenance.json")
    (verdict,) = product.json("verify", "--provenance", str(statement))
    assert verdict["same"]
    assert verdict["what"] == wheel.name
    assert verdict["second"] == next(w["sha256"] for w in wheels if w["recipe"] == "tvm_ffi")


def test_each_wheel_is_for_the_device_and_stripped(
    wheels: list[dict[str, Any]], tmp_path: Path
) -> None:
    counted = 0
    for wheel in wheels:
        path = Path(wheel["path"])
        _, _, _, tags = parse_wheel_filename(path.name)
        assert {re.sub(r"_2_\d+_", "_2_N_", t.platform) for t in tags} == {"manylinux_2_N_riscv64"}
        with zipfile.ZipFile(path) as archive:
            archive.extractall(tmp_path / path.name)
        for file in (tmp_path / path.name).rglob("*.so*"):
            found = elf.read(file)
            counted += 1
            assert found.machine == "EM_RISCV"
            assert found.stripped
            assert all(part.startswith("$ORIGIN") for part in found.search)
            assert b"/edgewright/" not in file.read_bytes()
    assert counted >= 4


def test_tflite_needs_nothing_beyond_the_system(
    wheels: list[dict[str, Any]], tmp_path: Path
) -> None:
    with zipfile.ZipFile(wheel_of(wheels, "tflite_runtime")) as archive:
        names = archive.namelist()
        (name,) = [n for n in names if n.endswith(".so")]
        archive.extract(name, tmp_path)
    system = {"libstdc++.so.6", "libm.so.6", "libgcc_s.so.1", "libc.so.6"}
    loader = "ld-linux-riscv64-lp64d.so.1"
    assert set(elf.read(tmp_path / name).needed) <= {*system, loader}


def test_licences_of_everything_linked_in_are_inside(wheels: list[dict[str, Any]]) -> None:
    with zipfile.ZipFile(wheel_of(wheels, "tflite_runtime")) as archive:
        shipped = {
            n.split("/licenses/")[1].split("/")[0] for n in archive.namelist() if "/licenses/" in n
        }
    assert {"tensorflow", "xnnpack", "abseil", "flatbuffers", "libruy-dev", "eigen3"} <= shipped


def test_tvms_wheel_does_not_pretend_to_be_the_full_package(wheels: list[dict[str, Any]]) -> None:
    path = wheel_of(wheels, "tvm_runtime")
    name, _, _, _ = parse_wheel_filename(path.name)
    assert name == "edgewright-tvm-runtime"
    with zipfile.ZipFile(path) as archive:
        assert "tvm/__init__.py" in archive.namelist()


def cache_with_its_own(entry: Entry, folder: Path) -> Path:
    """The machine's own cache, but for one entry, which is the test's to harm."""
    shard = entry.folder.parent
    entries = folder / "entries"
    (entries / shard.name).mkdir(parents=True)
    (folder / "blobs").symlink_to(Store().root / "blobs")
    for path in shard.parent.iterdir():
        if path != shard:
            (entries / path.name).symlink_to(path)
    for path in shard.iterdir():
        if path != entry.folder:
            (entries / shard.name / path.name).symlink_to(path)
    shutil.copytree(entry.folder, entries / shard.name / entry.key)
    return folder


def test_a_damaged_wheel_in_the_store_is_not_used(
    product: Product, wheels: list[dict[str, Any]], tmp_path: Path
) -> None:
    """Put it right afterwards by hand: building it again is the long way round."""
    entry = Store().entry(digest_of(build.inputs("tvm_runtime", targets.target(TARGET))))
    assert entry is not None
    env = {"EDGEWRIGHT_CACHE": str(cache_with_its_own(entry, tmp_path / "cache"))}
    name = wheel_of(wheels, "tvm_runtime").name
    folder = tmp_path / "cache" / "entries" / entry.key[:2] / entry.key
    stored = folder / name
    good = stored.read_bytes()
    stored.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    refused = product.refused("build-wheels", "--only", "tvm_runtime", env=env | NO_ENGINE)
    assert refused.returncode == 5
    assert not folder.exists()
    shutil.copytree(entry.folder, folder)
    assert not product.json("build-wheels", "--only", "tvm_runtime", env=env)[0]["fresh"]
